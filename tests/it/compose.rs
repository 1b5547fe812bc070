//! docker-compose.yml is read by a parser, because no Docker engine may be at hand: it has the services it is said to
//! have, and what one names of another exists.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<serde_json::Value>>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    command: Option<String>,
    healthcheck: Healthcheck,
    build: Option<Build>,
    #[serde(default)]
    depends_on: BTreeMap<String, Condition>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

#[derive(Deserialize)]
struct Build {
    context: String,
    dockerfile: String,
}

#[derive(Deserialize)]
struct Condition {
    condition: String,
}

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compose() -> Compose {
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_fleet_has_its_members_with_pinned_versions_and_health_checks() {
    let compose = compose();
    let names: Vec<&str> = compose.services.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["greeting-service", "nsqadmin", "nsqd-1", "nsqd-2", "nsqlookupd"]
    );
    for (name, service) in &compose.services {
        let (_, tag) = service
            .image
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{name} has no version"));
        assert!(
            tag.contains('.') && tag != "latest",
            "{name} has the version {tag}"
        );
        assert!(service.healthcheck.test.len() > 1, "{name} has no health check");
        for port in &service.ports {
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name} publishes {port} to everybody"
            );
        }
    }
}

#[test]
fn what_a_member_names_exists() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (other, condition) in &service.depends_on {
            assert!(compose.services.contains_key(other), "{name} waits for {other}");
            assert_eq!(
                condition.condition, "service_healthy",
                "{name} does not wait until {other} is ready"
            );
        }
        for volume in &service.volumes {
            let volume = volume.split(':').next().unwrap();
            assert!(compose.volumes.contains_key(volume), "{name} mounts {volume}");
        }
    }
    for nsqd in ["nsqd-1", "nsqd-2"] {
        let command = compose.services[nsqd].command.as_deref().unwrap();
        assert!(
            command.contains("--lookupd-tcp-address=nsqlookupd:4160"),
            "{nsqd}: {command}"
        );
        assert!(
            command.contains(&format!("--broadcast-address={nsqd}")),
            "{nsqd}: {command}"
        );
    }
    let service = &compose.services["greeting-service"];
    assert_eq!(service.environment["ALMANET_NSQD"], "nsqd-1:4150,nsqd-2:4150");
    let build = service.build.as_ref().unwrap();
    assert!(root().join(&build.context).join(&build.dockerfile).is_file());
}
