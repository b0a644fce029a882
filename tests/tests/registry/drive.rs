//! A fleet on a drive: exported where there is a network, imported where there is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use miniapp_runtime::updates::{Agent, Settings};
use miniapp_runtime::{Host, LaunchError, StaticPermissions};
use mpkg_fleet::Context;
use mpkg_package::Trust;
use serde_json::{Value, json};

use crate::people::{APP, Person, Server, releases, text};

/// A host that never had a network: its folder, and what it believes.
struct Kiosk<'a> {
    ann: &'a Person,
    data: &'a Path,
    drive: &'a Path,
    registry: &'a str,
}

impl Kiosk<'_> {
    fn import(&self, exit: i32) -> Value {
        let trusted =
            ["--trust", self.registry, "--unit", "kiosk-7", "--platform", "linux", "--host-version", "3.1.0"];
        let import = ["fleet", "import", text(self.drive), "--data", text(self.data)];
        self.ann.json(&[&import[..], &trusted].concat(), exit)
    }

    /// Starts host and agent as the Super App does, and calls the app.
    fn launch(&self) -> Result<Value, LaunchError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let host = Host::builder(self.data)
                .supervised(true)
                .permissions(StaticPermissions::allow(["storage", "events"]))
                .build()
                .unwrap();
            let context = Context {
                unit: "kiosk-7".into(),
                platform: "linux".parse().unwrap(),
                host_version: "3.1.0".parse().unwrap(),
                region: None,
                segments: BTreeSet::new(),
            };
            let trust = Trust::publisher(self.registry.parse().unwrap());
            let settings = Settings::new(trust, context, self.data.join("updates"));
            let agent = Agent::start(settings, host.clone()).await.unwrap();
            let outcome = match host.launch(APP, "ann").await {
                Ok(instance) => {
                    let stock = json!({ "sku": "tea", "stock": 7 });
                    let _: Value = instance.call("inventory.set", &stock).await.unwrap();
                    Ok(instance.call("stock.status", &json!({ "sku": "tea" })).await.unwrap())
                }
                Err(error) => Err(error),
            };
            agent.shutdown().await;
            host.shutdown();
            outcome
        })
    }
}

#[test]
fn what_is_exported_is_imported_and_launched_and_a_kill_holds() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = releases(folder.path());
    let mut server = Server::start(folder.path(), &[]);
    let ann = Person::new();
    ann.log_in(&server.address, &server.first_token.clone().unwrap());
    let registry = ann.ok(&["status"])["registry"].as_str().unwrap().to_owned();
    let everybody = || {
        ann.ok(&["rollout", "start", APP, "--steps", "100", "--bake", "0", "--confirm", APP]);
        ann.ok(&["rollout", "complete", APP, "--confirm", APP]);
    };
    ann.ok(&["publish", text(&first), "--claim"]);
    everybody();

    // Another registry than the one that is meant writes nothing; an app that it does not know is named.
    let drive = folder.path().join("drive");
    let export = ["fleet", "export", "--out", text(&drive), "--trust"];
    let stranger = format!("mp1{}", "a".repeat(52));
    ann.refused(&[&export[..], &[&stranger]].concat(), 3);
    let unknown = [&export[..], &[&registry, "com.example.other"]].concat();
    assert_eq!(ann.refused(&unknown, 1), "MPKG-P31");
    assert!(!drive.exists());

    // Written with what it takes; a second time fetches nothing again, and heals what was damaged.
    let export = [&export[..], &[&registry]].concat();
    let exported = ann.ok(&export);
    assert_eq!((&exported["registry"], &exported["fetched"]), (&json!(registry), &json!(1)));
    assert_eq!(ann.ok(&export)["fetched"], 0);
    let package = fs::read_dir(&drive).unwrap().map(|entry| entry.unwrap().path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|it| it == "mpkg")).unwrap();
    let whole = fs::read(&package).unwrap();
    fs::write(&package, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(ann.ok(&export)["fetched"], 1);
    assert_eq!(fs::read(&package).unwrap(), whole);

    // A host whose registry is another one takes nothing of it; the right one launches it.
    let data = folder.path().join("data");
    let kiosk = Kiosk { ann: &ann, data: &data, drive: &drive, registry: &registry };
    let elsewhere = folder.path().join("elsewhere");
    let refused = Kiosk { data: &elsewhere, registry: &stranger, ..kiosk }.import(3);
    assert!(!refused["refused"].as_array().unwrap().is_empty() && refused["head"].is_null(), "{refused:#}");
    let imported = kiosk.import(0);
    assert_eq!((&imported["apps"][0]["blocked"], &imported["refused"]), (&json!(false), &json!([])));
    assert_eq!(imported["head"], exported["head"]);
    kiosk.launch().unwrap();

    // The next release, of which the drive lost the package: it says so, and the first one goes on.
    ann.ok(&["publish", text(&second)]);
    everybody();
    ann.ok(&export);
    let packages = || fs::read_dir(&drive).unwrap().map(|entry| entry.unwrap().path());
    let newer =
        packages().find(|path| *path != package && path.extension().is_some_and(|it| it == "mpkg")).unwrap();
    let away = folder.path().join("away");
    fs::rename(&newer, &away).unwrap();
    let failed = kiosk.import(3);
    assert!(failed["refused"][0]["what"].as_str().unwrap().contains(APP), "{failed:#}");
    assert!(failed["refused"][0]["message"].as_str().unwrap().contains("not in the folder"), "{failed:#}");
    kiosk.launch().unwrap();
    fs::rename(&away, &newer).unwrap();
    let release = kiosk.import(0)["apps"][0]["release"].as_str().unwrap().to_owned();
    assert!(release.contains("1.1.0"), "{release}");
    kiosk.launch().unwrap();

    // A kill on the drive; then an older drive, which takes it back no more than the registry's end does.
    let state = drive.join("state.json");
    let before = fs::read(&state).unwrap();
    ann.ok(&["kill", APP, "--reason", "sends contacts away"]);
    ann.ok(&export);
    server.stop();
    assert_eq!(kiosk.import(0)["apps"][0]["blocked"], true);
    assert!(matches!(kiosk.launch(), Err(LaunchError::Killed { .. })));
    fs::write(&state, before).unwrap();
    let older = kiosk.import(3);
    assert_eq!(older["refused"][0]["code"], "MPKG-F36", "{older:#}");
    assert!(matches!(kiosk.launch(), Err(LaunchError::Killed { .. })));

    // What is no state file is refused before anything is opened.
    fs::write(&state, b"{}").unwrap();
    assert!(kiosk.import(3)["error"]["hint"].is_string());
}
