//! What is refused, what is shown, and what overrides what.

use super::*;

#[test]
fn an_open_admin_listener_needs_a_token() {
    let admin = Admin { address: SocketAddr::from(([0, 0, 0, 0], 8081)), token: None };
    let error = Config { admin, ..Config::default() }.checked().unwrap_err();
    assert!(error.to_string().contains("WHARF_ADMIN__TOKEN"), "{error}");
}

#[test]
fn an_open_ingress_needs_a_token() {
    let address = SocketAddr::from(([0, 0, 0, 0], 8080));
    let ingress = Ingress { address, token: None, ..Ingress::default() };
    let error = Config { ingress, ..Config::default() }.checked().unwrap_err();
    assert!(error.to_string().contains("APP_API_TOKEN"), "{error}");
}

#[test]
fn a_sidecars_address_is_one() {
    for endpoint in ["http://127.0.0.1:abc", "http://", "127.0.0.1:3500", "http://a b:1"] {
        let dapr = Dapr { endpoint: endpoint.into(), ..Dapr::default() };
        let error = Config { dapr, ..Config::default() }.checked().unwrap_err();
        assert!(error.to_string().contains("DAPR_HTTP_ENDPOINT"), "{error}");
    }
}

#[test]
fn what_kubernetes_says_of_services_is_no_setting() {
    let links = ["PORT", "SERVICE_HOST", "ADMIN_PORT", "ADMIN_SERVICE_PORT_HTTP"];
    let addresses = ["ADMIN_PORT_8081_TCP", "ADMIN_PORT_8081_TCP_ADDR", "PORT_80_TCP_PORT"];
    for key in links.iter().chain(&addresses) {
        assert!(!is_setting((*key).into()), "{key}");
    }
    for key in ["SERVICE", "DATA", "ADMIN__ADDRESS", "LEDGER__COMMITTERS", "TYPO"] {
        assert!(is_setting(key.into()), "{key}");
    }
}

#[test]
fn a_lease_must_outlast_the_runs_of_its_delivery() {
    let lease = Duration::from_secs(30);
    let ledger = Ledger { lease, ..Ledger::default() };
    let error = Config { ledger, ..Config::default() }.checked().unwrap_err();
    assert!(error.to_string().contains("give 50s or more"), "{error}");
}

#[test]
fn the_dedup_window_is_a_number_of_seconds_or_left_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    for (text, window) in [("", None), ("[ledger]\ndedup_window = 86400", Some(day))] {
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(file.path())).unwrap();
        assert_eq!(config.ledger.dedup_window, window, "{text}");
    }
    std::fs::write(&file, "[ledger]\ndedup_window = -1").unwrap();
    let error = Config::load(Some(file.path())).unwrap_err().to_string();
    assert!(error.contains("-1 is not a number of seconds"), "{error}");
}

#[test]
fn notifications_go_over_plain_http() {
    for (url, fine) in [("", true), ("http://127.0.0.1:1/x", true), ("https://a/x", false)] {
        let dapr = Dapr { notify_url: Some(url.into()), ..Dapr::default() };
        let checked = Config { dapr, ..Config::default() }.checked();
        assert_eq!(checked.is_ok(), fine, "{url}");
        let shown = checked.is_err_and(|error| error.to_string().contains("https://a/x"));
        assert!(!shown, "{url}");
    }
}

#[test]
fn no_error_shows_a_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, says) in [
        ("[admin]\ntoken = 424242", "admin.token\" in /"),
        ("[ingress]\ntoken = [\"424242\"]", "put it in quotes"),
        ("[dapr]\nnotify_url = 424242", "it is not text"),
        ("admin = \"424242\"", "not a section"),
        ("[dapr]\nnotify_url = \"https://u:424242@a/x\"", "does not begin with http://"),
        ("[admin]\ntoken = s424242", "at line 2, column 9"),
        ("[admin]\ntoken = \"424242", "at line 2, column 16"),
        ("[admin]\ntoken = '''424242\n| 424242", "TOML parse error"),
        ("[admin]\ntokens = 424242", "`tokens`"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Config::load(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("424242"), "{error}");
    }
}

#[test]
fn compiled_code_is_kept_with_the_user_and_not_in_the_project() {
    let own = |text: &str| Some(text.to_owned());
    for (caches, home, expected) in [
        (own("/var/caches"), own("/home/ann"), Some("/var/caches/wharf/compiled")),
        (own("caches"), own("/home/ann"), Some("/home/ann/.cache/wharf/compiled")),
        (None, own("/home/ann"), Some("/home/ann/.cache/wharf/compiled")),
        (None, own("ann"), None),
        (None, None, None),
    ] {
        assert_eq!(user_cache(caches, home), expected.map(PathBuf::from));
    }
    let cache = Some(PathBuf::from("/srv/compiled"));
    let chosen = Config { cache, ..Config::default() }.cache_folder();
    assert_eq!(chosen, Path::new("/srv/compiled"));
}

#[test]
fn a_secret_has_a_variable() {
    assert_eq!(secret_variable("database-url"), "WHARF_SECRET_DATABASE_URL");
    assert_eq!(secret_variable("a.b/c=é1"), "WHARF_SECRET_A_B_C__1");
}

#[test]
fn an_empty_token_is_none() {
    let address = SocketAddr::from(([0, 0, 0, 0], 8081));
    let admin = Admin { address, token: Some(String::new()) };
    assert!(Config { admin, ..Config::default() }.checked().is_err());
}

#[test]
fn a_key_that_is_no_setting_is_told_with_the_one_that_was_meant() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, says) in [
        ("servce = \"x\"", "`servce` is no setting; did you mean `service`?"),
        ("[ingres]\naddress = \"x\"", "`ingres` is no setting; did you mean `ingress`?"),
        ("[ledger]\ncomitters = 3", "`comitters` is no setting; did you mean `committers`?"),
        ("committers = 3", "did you mean `committers` under `[ledger]`?"),
        ("[relay]\ncolour = 3", "`colour` is no setting; its section has lease, batch"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Config::load(Some(file.path())).unwrap_err().to_string();
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert!(error.contains(says) && error.contains(name), "{error}");
    }
}
