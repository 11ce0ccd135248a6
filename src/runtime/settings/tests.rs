use std::time::Duration;

use super::*;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Vec<Diagnostic>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read(Some((Path::new("p.yaml"), text)), variables)
}

#[test]
fn defaults_are_valid() {
    let settings = Settings::defaults();
    assert_eq!(settings.grace_period, Duration::from_secs(30));
    assert_eq!(settings.proxy_listen.len(), 2);
    assert_eq!(settings.pid_path(), Path::new(".portcullis/portcullis.pid"));
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
    let text = "log_level: warn\nproxy_listen:\n- 127.0.0.1:1 ssl\n- off.example\ngrace_period: 5\nssl_cert: ~\n";
    let settings = read(text, &[("PORTCULLIS_PROXY_LISTEN", "off"), ("PORTCULLIS_LOG_LEVEL", "debug")]).unwrap();
    assert_eq!(settings.log_level, crate::telemetry::logging::Level::Debug);
    assert!(settings.proxy_listen.is_empty());
    assert_eq!(settings.grace_period, Duration::from_secs(5));
    let listens = read("proxy_listen: [127.0.0.1:1, '[::1]:2 ssl']", &[]).unwrap().proxy_listen;
    assert_eq!(listens.len(), 2);
}

#[test]
fn every_fault_is_found_at_once_with_its_place() {
    let text = "# a comment\nproxy_listn: off\ngrace_period: soon\nheaders: {a: b}\nlog_level: loud\nlog_level: warn\n";
    let faults = read(text, &[("PORTCULLIS_GRACE_PERIODS", "1"), ("PORTCULLIS_SEND_TIMEOUT", "x")]).unwrap_err();
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for expected in [
        "p.yaml:2:1: proxy_listn: there is no setting `proxy_listn` (did you mean `proxy_listen`?)",
        "p.yaml:3:1: grace_period: `soon` is not a time; write 500ms, 10s, 5m or 1h",
        "p.yaml:4:10: a setting's value is a scalar or a list, not a mapping",
        "p.yaml:6:1: log_level: given twice",
        "grace_periods: there is no setting `PORTCULLIS_GRACE_PERIODS` (did you mean PORTCULLIS_GRACE_PERIOD?)",
        "send_timeout: `x` is not a time; write 500ms, 10s, 5m or 1h (from the variable PORTCULLIS_SEND_TIMEOUT)",
    ] {
        assert!(said.iter().any(|line| line == expected), "no `{expected}` in {said:#?}");
    }
    assert_eq!(faults[0].excerpt.as_deref(), Some("proxy_listn: off"));
    assert!(read("- a\n", &[]).is_err());
    assert!(read("a: [", &[]).unwrap_err()[0].message.contains("not YAML"));
}

/// What Kong has and we do not is told apart from a mistyped name.
#[test]
fn settings_of_kongs_are_told_what_to_do_instead() {
    for (setting, instead) in [
        ("dns_resolver: 1.1.1.1", "/etc/resolv.conf"),
        ("dns_no_sync: off", "never by a request"),
        ("pg_host: db", "postgres://"),
        ("nginx_http_client_max_body_size: 1m", "docs/settings.md"),
        ("router_flavor: expressions", "traditional_compatible"),
    ] {
        let faults = read(setting, &[]).unwrap_err();
        assert!(faults.len() == 1 && faults[0].to_string().contains(instead), "{setting}: {faults:?}");
    }
    let message = |text: &str| read(text, &[]).unwrap_err()[0].message.clone();
    assert!(message("dns_order: SRV, A").contains("SRV records are not looked up"));
    assert!(message("plugins: bundled-not").contains("there are jwt"));
    assert!(message("client_ssl: on").contains("needs client_ssl_cert"));
    assert!(message("client_ssl_cert: a\nclient_ssl_cert_key: b").contains("has no effect"));
}

#[test]
fn values_are_read_as_documented() {
    let settings = read(
        "max_token_size: 1m\nclient_header_timeout: 250ms\ntrusted_ips: 10.0.0.0/8, ::1\nport_maps: 80:8000\n\
         database: sqlite:/tmp/x\nmax_connections: 7\nssl_protocols: TLSv1.3\nproxy_access_log: /dev/stdout\n",
        &[],
    )
    .unwrap();
    assert_eq!(settings.max_token_size.0, 1 << 20);
    assert_eq!(settings.client_header_timeout, Duration::from_millis(250));
    assert_eq!(settings.trusted_ips.len(), 2);
    assert_eq!(settings.port_maps, [(80, 8000)]);
    assert_eq!(settings.database, Database::Url("sqlite:/tmp/x".into()));
    assert_eq!(settings.max_connections, Auto::Given(7));
    assert!(!settings.ssl_protocols.tls12);
    assert_eq!(settings.proxy_access_log, crate::telemetry::output::Target::Stdout);
    let said = read("database: mysql://root:hunter2@x", &[]).unwrap_err()[0].to_string();
    assert!(!said.contains("hunter2"));
    let settings = read("plugins: jwt, key-auth\ndns_order: aaaa\ndns_valid_ttl: 1m\n", &[]).unwrap();
    assert_eq!(settings.plugins.0, Some(vec!["jwt", "key-auth"]));
    assert_eq!(settings.dns_order.0, crate::upstream::Families::Ipv6);
    assert_eq!(settings.dns_valid_ttl, Duration::from_secs(60));
    assert_eq!(read("plugins: off\n", &[]).unwrap().plugins.0, Some(vec![]));
    assert_eq!(read("plugins: bundled, jwt\n", &[]).unwrap().plugins.0, None);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for text in [
        "ssl_cert: a.pem",
        "declarative_config: a.yml\ndeclarative_config_string: x",
        "admin_listen: 127.0.0.1:1 proxy_protocol",
        "admin_gui_listen: 127.0.0.1:1 http2",
        "client_ssl_cert: a.pem",
    ] {
        assert!(read(text, &[]).is_err(), "{text}");
    }
}

#[test]
fn only_a_console_that_was_asked_for_must_be_there() {
    assert!(Settings::defaults().is_console_at_default());
    assert!(!read("admin_gui_listen: 127.0.0.1:8003", &[]).unwrap().is_console_at_default());
    assert!(!read("admin_gui_listen: off", &[]).unwrap().is_console_at_default());
}

/// Compares a generated file of the repository; writes it anew when `BLESS` is set.
fn generated(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{} is not what the table says; run with BLESS=1 to write it", path.display());
}

#[test]
fn file_and_documentation_follow_the_table() {
    generated("docs/settings.md", &render_documentation());
    generated("conf/portcullis.yaml", &render_file());
    let file = render_file();
    assert!(read(&file, &[]).is_ok());
    // With every line taken into use it still says the same.
    let used: String = file
        .lines()
        .map(|line| {
            let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            format!("{}\n", setting.unwrap_or(line))
        })
        .collect();
    let settings = read(&used, &[]).unwrap();
    assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::defaults()));
}
