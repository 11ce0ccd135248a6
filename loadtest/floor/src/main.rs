//! The least that a proxy on Pingora can do: plain HTTP in, plain HTTP out, one service, no hook that is not required.
//!
//! `floor LISTEN_PORT SERVICE_PORT`: what the gateway's own share of a request is measured against (`loadtest/run compare`). Pingora
//! as it comes, with the system's allocator. `FLOOR_DENY=1` answers 401 to everything, over kept connections. Not for use.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Floor {
    service: SocketAddr,
    deny: bool,
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        if self.deny {
            let mut header = ResponseHeader::build(401, Some(2))?;
            header.insert_header("WWW-Authenticate", "Bearer")?;
            header.insert_header("Content-Length", "0")?;
            session.write_response_header(Box::new(header), true).await?;
        }
        Ok(self.deny)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.service, false, String::new())))
    }
}

fn main() {
    let mut ports = std::env::args().skip(1).map(|port| port.parse().expect("a port"));
    let (listen, service): (u16, u16) = (ports.next().expect("LISTEN_PORT"), ports.next().expect("SERVICE_PORT"));
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 512,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let deny = std::env::var_os("FLOOR_DENY").is_some();
    let floor = Floor { service: SocketAddr::from(([127, 0, 0, 1], service)), deny };
    let mut proxy = http_proxy_service(&server.configuration, floor);
    proxy.add_tcp(&format!("127.0.0.1:{listen}"));
    server.add_service(proxy);
    server.run_forever();
}
