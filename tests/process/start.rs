//! Starting, and why a process does not.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Gateway, Place, eventually, get};

/// Runs the program to its end: exit code and standard error.
fn fails(place: &Place) -> (Option<i32>, String) {
    let start = Instant::now();
    let output = place.command(&["run"], "stderr").output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "not at once");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_port_in_use_ends_it_at_once_with_1_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new(&[("PROXY_LISTEN", &address)]);
    let (code, said) = fails(&place);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{address} is in use")) && said.contains("proxy_listen"), "{said}");
    drop(taken);
    // The control: the same settings with the port free.
    let gateway = place.start();
    assert_eq!(gateway.proxy().to_string(), address);
}

#[test]
fn a_setting_that_is_none_ends_it_with_a_suggestion() {
    let place = Place::new(&[("PROXY_LISTN", "off")]);
    let (code, said) = fails(&place);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("PORTCULLIS_PROXY_LISTEN"), "{said}");
}

/// Kong's `plugins`: what is not in the list is refused, in a file and in what the Admin API says there is.
#[test]
fn plugins_that_are_not_enabled_are_refused() {
    let place = Place::new(&[("PLUGINS", "jwt")]);
    let (code, said) = fails(&place);
    assert_eq!(code, Some(1), "{said}");
    let message = "plugin 'request-termination' not enabled; add it to the 'plugins' configuration property";
    assert!(said.contains(message) && said.contains("kong.yml:15"), "{said}");
    // Not even where unsupported plugins are left out: it may be the one that keeps requests out.
    let place = Place::new(&[("PLUGINS", "jwt, key-auth"), ("IGNORE_UNSUPPORTED", "on")]);
    assert!(fails(&place).1.contains(message));
    for enabled in ["bundled", "jwt, request-termination"] {
        let place = Place::new(&[("PLUGINS", enabled)]);
        assert!(place.start().marker().contains("one"), "control");
    }
    let (code, said) = fails(&Place::new(&[("PLUGINS", "jwt, no-such")]));
    assert!(code == Some(1) && said.contains("there is no plugin `no-such`"), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_served_ends_it_with_every_reason_and_its_line() {
    let place = Place::new(&[]);
    place.configure(
        "_format_version: \"3.0\"\nservices:\n- name: a\n  url: http://a\n  hots: b\n- nam: c\n  url: http://c\n",
    );
    let (code, said) = fails(&place);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("kong.yml:5") && said.contains("kong.yml:6"), "{said}");
}

#[test]
fn it_is_ready_when_status_says_so_and_counts_what_it_serves() {
    let place = Place::new(&[]);
    let gateway = place.start();
    assert_eq!(gateway.status("/status/ready"), (200, r#"{"message":"ready"}"#.into()));
    assert_eq!(gateway.status("/livez").0, 200);
    assert!(gateway.marker().contains("one"));
    assert_eq!(get(gateway.proxy(), "/nowhere").0, 404);
    assert_eq!(gateway.metric("portcullis_snapshot_generation "), Some(1.0));
    assert_eq!(gateway.metric("portcullis_snapshot_entities{type=\"routes\"} "), Some(2.0));
    assert_eq!(gateway.metric("portcullis_unmatched_requests_total{code=\"404\"} "), Some(1.0));
    let counted = "kong_http_requests_total{service=\"marked\",route=\"marked\",code=\"200\",source=\"kong\",workspace=\"default\",consumer=\"\"} ";
    assert_eq!(gateway.metric(counted), Some(1.0));
}

#[test]
fn systemd_passes_sockets() {
    use std::os::fd::AsRawFd;
    // Descriptor 3 is where systemd puts the first; a shell moves ours there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let address = listener.local_addr().unwrap();
    let place = Place::new(&[("PROXY_LISTEN", &address.to_string())]);
    let direct = place.command(&["run"], "error.log");
    let script = format!("exec env LISTEN_FDS=1 LISTEN_PID=$$ \"$0\" run 3<&{}", listener.as_raw_fd());
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script]).arg(direct.get_program()).current_dir(place.directory.path());
    for (name, value) in direct.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut child = shell.spawn().unwrap();
    // The port is taken by the socket that is passed: had it been bound anew, the process would have ended.
    let answered = get(address, "/marker");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answered.1.contains("one"), "{answered:?}");
}

/// An idle process has none of the kernel's huge pages, which it would not use.
#[test]
fn huge_pages_are_for_clients_and_for_large_configurations() {
    let place = Place::new(&[]);
    let given = |gateway: &Gateway| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("THP_enabled:")).is_none_or(|enabled| enabled.trim() == "1")
    };
    let gateway = place.start();
    assert!(!given(&gateway));
    assert!(gateway.marker().contains("one"));
    assert!(given(&gateway), "a client");

    let place = Place::new(&[]);
    let gateway = place.start();
    let consumers: String = (0..3000).map(|n| format!("\n- username: someone-with-number-{n}")).collect();
    place.configure(&format!("{}consumers:{consumers}\n", crate::support::configuration("two", place.service)));
    assert!(!given(&gateway));
    kill_process(Pid::from_child(&gateway.child), Signal::HUP).unwrap();
    eventually("huge pages", || given(&gateway));
}

#[test]
fn declarative_files_beside_a_database_are_said_to_be_ignored() {
    let place = Place::new(&[("DATABASE", "sqlite:store.db")]);
    let gateway = place.start();
    assert_eq!(get(gateway.proxy(), "/marker").0, 404);
    assert!(gateway.log().contains("declarative files are not read"), "{}", gateway.log());
    assert!(!Place::new(&[]).start().log().contains("declarative files are not read"));
}
