//! `deploy/istio`: the names in it are those of `deploy/kubernetes`. No mesh takes part in the tests.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::path::Path;
use support::python::python;

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let output = python("kubernetes", "read.py").arg(path).output().unwrap();
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_mesh_asks_the_service_that_there_is_under_the_name_that_the_policy_gives() {
    let provider = &read("istio/mesh-config.yaml")[0]["meshConfig"]["extensionProviders"][0];
    let grpc = &provider["envoyExtAuthzGrpc"];
    let services = read("kubernetes/base/services.yaml");
    let service = services.as_array().unwrap().iter().find(|one| one["spec"]["clusterIP"].is_null()).unwrap();
    let namespace = &read("kubernetes/base/kustomization.yaml")[0]["namespace"];
    let name =
        format!("{}.{}.svc.cluster.local", service["metadata"]["name"].as_str().unwrap(), namespace.as_str().unwrap());
    assert_eq!((&grpc["service"], &grpc["port"]), (&Value::from(name.as_str()), &service["spec"]["ports"][0]["port"]));
    // Closed when keygate is away, as in deploy/envoy.
    assert_eq!((&grpc["failOpen"], &grpc["statusOnError"]), (&Value::from(false), &Value::from("503")));

    let policy = &read("istio/authorization-policy.yaml")[0];
    assert_eq!(
        (&policy["apiVersion"], &policy["kind"]),
        (&Value::from("security.istio.io/v1"), &Value::from("AuthorizationPolicy"))
    );
    assert_eq!(
        (&policy["spec"]["action"], &policy["spec"]["provider"]["name"]),
        (&Value::from("CUSTOM"), &provider["name"])
    );
    assert_eq!(policy["spec"]["rules"].as_array().unwrap().len(), 1, "a policy without rules asks about nothing");

    let rule = &read("istio/destination-rule.yaml")[0];
    assert_eq!(
        (&rule["apiVersion"], &rule["kind"]),
        (&Value::from("networking.istio.io/v1"), &Value::from("DestinationRule"))
    );
    assert_eq!((&rule["spec"]["host"], &rule["metadata"]["namespace"]), (&Value::from(name), namespace));
    for file in read("istio/kustomization.yaml")[0]["resources"].as_array().unwrap() {
        read(&format!("istio/{}", file.as_str().unwrap()));
    }
}
