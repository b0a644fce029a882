//! The kit's apps, and a host that they are on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{Bridge, CallError, Compiler, Host, HostBuilder, Instance, PermissionProvider};
use mpkg_manifest::permission::{self, VOCABULARY};
use mpkg_package::{Root, SecretKey, Time, Trust, container, sign};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::report::Party;
use crate::{Error, Isolation, NAME, SECRET, SECRET_BASE64, Sample, puppet};

/// Apps of two publishers, one the beginning of the others' ids.
pub(crate) const APPS: [&str; 3] =
    ["com.example.isolation", "com.example.isolation2", "com.example.isolation.two"];
/// The permission through which the kit hears what its apps are told.
const PROBE: &str = "host.isolation";
const HEARD: &str = "isolation.heard";

/// Whom the kit plays. Together their ids make the same texts in more than one way, and lead out of a folder.
pub(crate) fn cast() -> Vec<Party> {
    let party = |app: &str, user: &str| Party { app_id: app.to_owned(), user: user.to_owned() };
    let [one, two, three] = APPS;
    vec![
        party(one, "ann"),
        party(one, "bob"),
        party(two, "ann"),
        party(three, "ann"),
        party(one, "2ann"),
        party(one, "Ann"),
        party(one, "ann/../bob"),
        party(one, "com.example.isolation2"),
    ]
}

type Heard = Arc<Mutex<Vec<(u64, Value)>>>;

/// A host that the embedder would recognise as its own, with the kit's apps in it.
pub(crate) struct Stage {
    pub(crate) host: Host,
    heard: Heard,
    /// In the order in which the guests import them.
    interfaces: Vec<&'static str>,
    _folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn build<B: Fn(HostBuilder) -> HostBuilder>(
        kit: &Isolation<B>,
        permissions: impl PermissionProvider,
    ) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let heard = Heard::default();
        let hearing = heard.clone();
        let probe = Bridge::new(PROBE).immediate(HEARD, move |caller, told: Value| {
            hearing.lock().unwrap_or_else(PoisonError::into_inner).push((caller.instance(), told));
            Ok::<_, RpcError>(())
        });
        // A name that is none is the embedder's to be told of, not the kit's.
        let compiler = Compiler::from_environment().unwrap_or_default();
        let host = (kit.build)(Host::builder(folder.path()).compiler(compiler))
            .trust(Trust::key(&key(1).public()))
            .trust(Trust::key(&key(2).public()))
            .permissions(permissions)
            .bridge(probe)
            .build()?;
        let permissions: BTreeSet<String> = host
            .methods()
            .map(|(_, permission)| permission.to_owned())
            .filter(|name| !permission::by_name(name).is_some_and(|spec| spec.free))
            .collect();
        // `log` first: it is what a guest floods, if it is told to.
        let free = VOCABULARY.iter().filter(|spec| spec.free).map(|spec| spec.interface);
        let of_permissions = permissions.iter().filter_map(|name| permission::interface_for(name));
        let mut interfaces: Vec<&str> = Vec::new();
        for interface in free.chain(of_permissions) {
            if !interfaces.contains(&interface) {
                interfaces.push(interface);
            }
        }
        let stage = Self { host, heard, interfaces, _folder: folder };
        for (app_id, seed) in APPS.into_iter().zip([1, 2, 1]) {
            stage.host.install(stage.package(app_id, &permissions, seed)?).await?;
        }
        Ok(stage)
    }

    /// Installs an app that declares nothing.
    pub(crate) async fn install_bare(&self, app_id: &str) -> Result<(), Error> {
        self.host.install(self.package(app_id, &BTreeSet::new(), 1)?).await?;
        Ok(())
    }

    fn package(&self, app_id: &str, permissions: &BTreeSet<String>, seed: u8) -> Result<Vec<u8>, Error> {
        let kit = |error: &dyn std::fmt::Display| Error::Kit(error.to_string());
        let declared = |name: &str| permissions.contains(name);
        let imports: Vec<&str> =
            self.interfaces.iter().copied().filter(|interface| is_open(interface, permissions)).collect();
        let text = match imports.iter().position(|name| *name == "host") {
            Some(place) => puppet::listening(&imports, place, HEARD),
            None => puppet::component(&imports),
        };
        let component = wat::parse_str(text).map_err(|e| kit(&e))?;
        let mut mpkg = json!({ "component": "app.wasm", "abi": 1 });
        let members = [
            ("optional_permissions", !permissions.is_empty(), json!(permissions)),
            ("storage", declared("storage"), json!({ "quota_bytes": 1 << 20 })),
            ("files", declared("files"), json!({ "quota_bytes": 1 << 20 })),
            ("network", declared("network"), json!({ "allow": ["isolation.example.com"] })),
        ];
        if let Some(mpkg) = mpkg.as_object_mut() {
            for (member, wanted, value) in members {
                if wanted {
                    mpkg.insert(member.to_owned(), value);
                }
            }
        }
        let wanted: Vec<_> =
            permissions.iter().map(|name| json!({ "name": name, "reason": "The kit tries it." })).collect();
        let manifest = json!({
            "app_id": app_id,
            "name": "Isolation",
            "icons": [{ "src": "icon.svg" }],
            "pages": ["pages/main"],
            "platform_version": { "min_code": 1 },
            "version": { "code": 1, "name": "1.0.0" },
            "req_permissions": wanted,
            "mpkg": mpkg,
        });
        let manifest = manifest.to_string();
        let files: [(&str, &[u8]); 3] =
            [("manifest.json", manifest.as_bytes()), ("app.wasm", &component), ("icon.svg", b"<svg/>")];
        let package = container::write(&files).map_err(|e| kit(&e))?;
        let key = key(seed);
        let created = Time::from_unix(1_767_225_600).ok_or_else(|| Error::Kit("no time".into()))?;
        let signed = sign(&package, &key, &Root::single(&key.public()), created).map_err(|e| kit(&e))?;
        signed.embed(&package).map_err(|e| kit(&e))
    }

    pub(crate) async fn launch(&self, number: usize, party: Party) -> Result<Player, Error> {
        let instance = self.host.launch(&party.app_id, &party.user).await?;
        Ok(Player {
            party,
            instance,
            name: format!("name-{number}-x7"),
            secret: format!("secret-{number:04}-of-this-app"),
            interfaces: self.interfaces.clone(),
        })
    }

    /// What an app was told so far by its inbox.
    pub(crate) fn heard_by(&self, player: &Player) -> Vec<Value> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = heard.iter().filter(|(instance, _)| *instance == player.instance.id());
        theirs.map(|(_, told)| told.clone()).collect()
    }

    /// Methods and their permissions, but for the kit's own.
    pub(crate) fn methods(&self) -> Vec<(String, String)> {
        let methods = self.host.methods().filter(|(method, _)| *method != HEARD);
        methods.map(|(method, permission)| (method.to_owned(), permission.to_owned())).collect()
    }

    /// The calls of a list that this host has a method for.
    pub(crate) fn known<'s>(&self, samples: &'s [Sample]) -> Vec<&'s Sample> {
        let methods: BTreeSet<&str> = self.host.methods().map(|(method, _)| method).collect();
        samples.iter().filter(|sample| methods.contains(sample.method.as_str())).collect()
    }
}

/// Whether one of these permissions, or none, opens an interface.
fn is_open(interface: &str, permissions: &BTreeSet<String>) -> bool {
    let free = VOCABULARY.iter().any(|spec| spec.free && spec.interface == interface);
    free || permissions.iter().any(|name| permission::interface_for(name) == Some(interface))
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// One app that runs for one user, with what is its own.
pub(crate) struct Player {
    pub(crate) party: Party,
    pub(crate) instance: Instance,
    pub(crate) name: String,
    /// As long as makes base64 of it part of base64 of anything that begins with it.
    pub(crate) secret: String,
    interfaces: Vec<&'static str>,
}

impl Player {
    /// Makes a call as the guest would, with `named` instead of the caller's own name if somebody is meant.
    pub(crate) async fn make(&self, sample: &Sample, named: Option<&Player>) -> Result<Value, CallError> {
        let params = self.fill(&sample.params, named.map_or(&self.name, |other| &other.name));
        match self.import(&sample.method) {
            Some(method) => self.instance.call(&method, &params).await,
            None => {
                let answer = self.instance.dispatch(&sample.method, &params.to_string()).await?;
                serde_json::from_str(&answer)
                    .map_err(|error| CallError::BadAnswer { method: sample.method.clone(), error })
            }
        }
    }

    /// Parameters of the guest's `list`, by which it makes each of these calls a few times; none if it has
    /// nothing to make them by.
    pub(crate) fn list(&self, samples: &[Sample]) -> Result<Option<Box<RawValue>>, Error> {
        let mut list = String::new();
        for sample in samples {
            if let Some(method) = self.import(&sample.method) {
                let before = if list.is_empty() { '{' } else { ',' };
                list += &format!("{before}\"{method}\":{}\n", self.fill(&sample.params, &self.name));
            }
        }
        if list.is_empty() {
            return Ok(None);
        }
        list.push('}');
        RawValue::from_string(list).map(Some).map_err(|error| Error::Kit(error.to_string()))
    }

    /// The name under which the guest calls a method of one of its imports for its caller.
    pub(crate) fn import(&self, method: &str) -> Option<String> {
        let interface = match permission::method(method) {
            Some(spec) => spec.interface,
            None => permission::interface_for(&permission::host_permission_for_method(method)?)?,
        };
        let place = self.interfaces.iter().position(|name| *name == interface)?;
        let digit = u8::try_from(place).ok().and_then(|place| b'0'.checked_add(place))?;
        Some(format!("{}{method}", char::from(digit)))
    }

    fn fill(&self, params: &Value, name: &str) -> Value {
        let fill = |text: &str| {
            text.replace(NAME, name)
                .replace(SECRET_BASE64, &BASE64.encode(self.secret.as_bytes()))
                .replace(SECRET, &self.secret)
        };
        match params {
            Value::String(text) => Value::String(fill(text)),
            Value::Array(all) => all.iter().map(|one| self.fill(one, name)).collect(),
            Value::Object(all) => {
                all.iter().map(|(member, value)| (fill(member), self.fill(value, name))).collect()
            }
            other => other.clone(),
        }
    }

    /// Whether a text holds what is this app's alone.
    pub(crate) fn is_secret_in(&self, text: &str) -> bool {
        text.contains(&self.secret) || text.contains(&BASE64.encode(self.secret.as_bytes()))
    }
}
