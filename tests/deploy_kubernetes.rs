//! `deploy/kubernetes` as it is applied: rendered by kubectl, held to the schemas of Kubernetes, and to what it promises.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::{
    config::{self, RealmFiles, Settings},
    server::DRAIN,
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use support::{
    calls::{Answered, by_key},
    keygate::{DataDir, Keygate},
    python::python,
    redis::RedisServer,
};

const OVERLAYS: [&str; 3] = ["base", "redis", "sidecar"];
/// The oldest version that knows every field, where `sleep` before the end is on by default, and the newest that is known.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn render(overlay: &str) -> Vec<Value> {
    let folder = deploy("kubernetes").join(overlay);
    let output = python("kubernetes", "render.py").arg(folder).args(VERSIONS).output().unwrap();
    assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The objects of that kind.
fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Everything that runs pods.
fn workloads(objects: &[Value]) -> Vec<&Value> {
    objects.iter().filter(|object| object["spec"]["template"]["spec"]["containers"].is_array()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn container<'o>(objects: &'o [Value], name: &str) -> &'o Value {
    let mut all =
        workloads(objects).into_iter().flat_map(|workload| list(&workload["spec"]["template"]["spec"]["containers"]));
    all.find(|container| container["name"] == name).unwrap_or_else(|| panic!("no container `{name}`"))
}

#[test]
fn every_container_runs_with_the_least_that_it_needs() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        assert!(!workloads(&objects).is_empty());
        for workload in workloads(&objects) {
            let (name, pod) = (&workload["metadata"]["name"], &workload["spec"]["template"]["spec"]);
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(pod["enableServiceLinks"], false, "{name}");
            let user = &pod["securityContext"];
            assert_eq!(
                (&user["runAsNonRoot"], &user["seccompProfile"]["type"]),
                (&json!(true), &json!("RuntimeDefault"))
            );
            assert!(user["runAsUser"].as_u64().unwrap() > 0 && user["runAsGroup"].as_u64().unwrap() > 0, "{name}");
            for container in list(&pod["containers"]) {
                let expected = json!({
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                });
                assert_eq!(container["securityContext"], expected, "{}", container["name"]);
                let resources = &container["resources"];
                assert!(resources["limits"]["memory"].is_string() && resources["requests"]["cpu"].is_string());
                for mount in list(&container["volumeMounts"]) {
                    let written =
                        ["/data", "/run/keygate", "/var/lib/keygate"].contains(&mount["mountPath"].as_str().unwrap());
                    assert_eq!(mount["readOnly"] == true, !written, "{mount}");
                }
            }
        }
        for account in of_kind(&objects, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false);
        }
        assert_eq!(
            of_kind(&objects, "Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
            "restricted"
        );
    }
}

#[test]
fn every_pod_is_behind_a_network_policy_and_keygate_behind_a_budget_and_spread() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let selects = |kind: &str, field: &str, labels: &Value| {
            of_kind(&objects, kind).iter().any(|object| object["spec"][field]["matchLabels"] == *labels)
        };
        for workload in workloads(&objects) {
            let labels = &workload["spec"]["template"]["metadata"]["labels"];
            assert!(selects("NetworkPolicy", "podSelector", labels), "{overlay}: {labels}");
            if workload["kind"] == "Deployment" {
                assert!(selects("PodDisruptionBudget", "selector", labels), "{overlay}: {labels}");
                let spread = list(&workload["spec"]["template"]["spec"]["topologySpreadConstraints"]);
                assert!(spread.len() == 2 && spread.iter().all(|one| one["labelSelector"]["matchLabels"] == *labels));
                assert!(workload["spec"]["replicas"].as_u64().unwrap() > 1);
            }
        }
        for policy in of_kind(&objects, "NetworkPolicy") {
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "{overlay}");
        }
        for service in of_kind(&objects, "Service") {
            let chosen = workloads(&objects)
                .into_iter()
                .find(|workload| workload["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]);
            let containers = list(&chosen.expect("a service leads to pods")["spec"]["template"]["spec"]["containers"]);
            let mut ports = containers.iter().flat_map(|container| list(&container["ports"]));
            let target = &service["spec"]["ports"][0]["targetPort"];
            assert!(ports.any(|port| port["name"] == *target), "{overlay}: no port `{target}`");
        }
    }
}

#[test]
fn a_pod_gets_the_time_that_its_end_takes() {
    let settings =
        Settings::load(&deploy("kubernetes/base/keygate.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let drain = (DRAIN + settings.drain_delay).as_secs();
    for overlay in ["base", "sidecar"] {
        let objects = render(overlay);
        let grace =
            workloads(&objects)[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
        let sleep =
            |name: &str| container(&objects, name)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        assert!(grace >= sleep("keygate") + drain + 5, "{overlay}: {grace} s");
        if overlay == "sidecar" {
            assert!(sleep("envoy") < sleep("keygate"), "keygate ends before Envoy has finished");
        }
    }
}

#[test]
fn the_probes_ask_for_readiness_and_liveness() {
    for overlay in OVERLAYS {
        let objects = render(overlay);
        let keygate = container(&objects, "keygate");
        for (probe, service) in
            [("readinessProbe", "readiness"), ("livenessProbe", "liveness"), ("startupProbe", "liveness")]
        {
            assert_eq!(keygate[probe]["grpc"], json!({ "port": 50051, "service": service }), "{overlay}");
        }
        // The store's address comes from a Secret, and no password stands in a ConfigMap or an argument.
        let secret = json!([{ "name": "KEYGATE_REDIS_URL",
            "valueFrom": { "secretKeyRef": { "name": "keygate-store", "key": "url" } } }]);
        assert_eq!(keygate["env"], secret);
        assert!(of_kind(&objects, "Secret").is_empty());
    }
}

#[test]
fn the_sidecar_is_asked_over_the_socket_where_envoy_looks_for_it() {
    let objects = render("sidecar");
    let mounted = |name: &str, path: &str| {
        let mounts = list(&container(&objects, name)["volumeMounts"]);
        mounts.iter().any(|mount| mount["name"] == "socket" && mount["mountPath"] == path)
    };
    assert!(mounted("keygate", "/run/keygate") && mounted("envoy", "/run/keygate"));
    let settings =
        of_kind(&objects, "ConfigMap").into_iter().find_map(|map| map["data"]["envoy.yaml"].as_str()).unwrap();
    assert!(settings.contains(support::proxy::SOCKET));
    assert_eq!(settings, support::proxy::file("sidecar.yaml", &[]));
    let arguments = list(&container(&objects, "keygate")["args"]);
    assert!(arguments.iter().any(|argument| argument == "/run/keygate/keygate.sock"), "{arguments:?}");
    // And nobody comes past Envoy.
    let policy = of_kind(&objects, "NetworkPolicy")[0];
    assert_eq!(policy["spec"]["ingress"], json!([{ "ports": [{ "port": 8080, "protocol": "TCP" }] }]));
}

#[test]
fn every_shipped_realm_is_in_the_config_map() {
    let objects = render("base");
    let maps = of_kind(&objects, "ConfigMap");
    let realms = maps.iter().find(|map| map["data"]["recurr.toml"].is_string()).expect("the realms");
    let mut files: Vec<PathBuf> = fs::read_dir(deploy("realms")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "toml"));
    assert_eq!(realms["data"].as_object().unwrap().len(), files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(realms["data"][path.file_name().unwrap().to_str().unwrap()], text, "{}", path.display());
    }
}

/// keygate with the settings of the ConfigMap and both secrets from a directory that it cannot write, as in a pod.
#[tokio::test]
async fn keygate_serves_with_the_settings_and_secrets_of_a_pod() {
    let folder = tempfile::tempdir().unwrap();
    // The first server's own files are what the Secret is made from.
    let mut first = Keygate::start(&[]).await;
    let operator = first.operator().to_owned();
    let secrets = folder.path().join("secrets-of-the-pod");
    fs::create_dir(&secrets).unwrap();
    for name in ["secrets", "operator.key"] {
        fs::copy(first.data_dir().join(name), secrets.join(name)).unwrap();
        fs::set_permissions(secrets.join(name), fs::Permissions::from_mode(0o440)).unwrap();
    }
    first.terminate().await;

    let shipped = deploy("kubernetes/base/keygate.toml");
    let settings = Settings::load(&shipped).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(settings.realms, RealmFiles::Paths(vec!["/etc/keygate/realms".into()]));
    config::load(&Settings { realms: RealmFiles::Paths(vec![deploy("realms")]), ..settings }).unwrap();
    let text = fs::read_to_string(&shipped).unwrap();
    let text = text.replace("/etc/keygate/realms", deploy("realms").to_str().unwrap());
    let text = text.replace("/run/secrets/keygate", secrets.to_str().unwrap());

    let redis = RedisServer::start();
    let nowhere = folder.path().join("no-data");
    let mut servers = Vec::new();
    for pod in ["one", "other"] {
        let own = folder.path().join(pod);
        let file = folder.path().join(format!("{pod}.toml"));
        fs::write(&file, text.replace("/var/lib/keygate", own.to_str().unwrap())).unwrap();
        let arguments = ["--config", file.to_str().unwrap(), "--redis-url", &redis.url()];
        let started = Keygate::try_start(DataDir::Given(nowhere.clone()), &arguments).await;
        servers.push(started.unwrap_or_else(|ended| panic!("{ended:#?}")));
    }
    assert!(!nowhere.exists(), "keygate wrote where a pod has no disk");
    // The operator key of the Secret manages what both serve.
    let create = support::calls::key_for("acme", "live");
    let create = keygate::proto::v1::manage_keys_request::Operation::Create(create);
    let made = servers[0].try_manage_as(Some(&operator), "recover", create).await.unwrap();
    let keygate::proto::v1::manage_keys_response::Result::Created(made) = made else { panic!("{made:?}") };
    servers[1].authenticate(by_key("recover", &made.secret)).await.allowed();
    assert!(secrets.join("operator.key").exists());
}

/// The schemas are strict: what is misspelt is found.
#[test]
fn a_misspelt_field_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(deploy("kubernetes/base/disruption-budget.yaml")).unwrap();
    fs::write(folder.path().join("one.yaml"), text.replace("maxUnavailable", "maxUnavailabel")).unwrap();
    fs::write(folder.path().join("kustomization.yaml"), "resources: [one.yaml]\n").unwrap();
    let mut command: Command = python("kubernetes", "render.py");
    let output = command.arg(folder.path()).args(VERSIONS).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("maxUnavailabel"), "{told}");
}
