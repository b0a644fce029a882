//! Every method is behind its permission.

use std::collections::BTreeSet;

use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{CallError, DenyPermissions, HostBuilder, StaticPermissions};
use mpkg_manifest::permission;
use serde_json::json;

use crate::party::{Player, Stage, cast};
use crate::report::{Finding, Party, Report, Transport};
use crate::{Error, Isolation, Sample};

/// An app that declares nothing.
const BARE: &str = "com.example.isolation.bare";

pub(crate) async fn check<B: Fn(HostBuilder) -> HostBuilder>(kit: &Isolation<B>) -> Result<Report, Error> {
    let mut report = Report::default();
    let stage = Stage::build(kit, DenyPermissions).await?;
    let mut players = Vec::new();
    for (number, party) in cast().into_iter().take(3).enumerate() {
        players.push(stage.launch(number, party).await?);
    }
    let Some((one, others)) = players.split_first() else { return Ok(report) };
    let methods = stage.methods();
    refused(one, &methods, &mut report).await;
    let permissions: BTreeSet<&String> = methods.iter().map(|(_, permission)| permission).collect();
    for permission in permissions.into_iter().filter(|name| !is_free(name)) {
        stage.host.grant(&one.party.user, &one.party.app_id, permission)?;
        granted(one, &methods, permission, &mut report).await;
        let method = methods.iter().find(|(_, of)| of == permission);
        for other in others {
            if let Some((method, _)) = method
                && other.instance.authorize(method).await.is_ok()
            {
                let (of, to) = (one.party.clone(), other.party.clone());
                report.find(Finding::SharedGrant { permission: permission.clone(), of, to });
            }
        }
        stage.host.revoke(&one.party.user, &one.party.app_id, permission)?;
    }
    refused(one, &methods, &mut report).await;
    stage.host.shutdown();

    // What is not declared is not opened by a user or a provider that would allow everything.
    let stage = Stage::build(kit, StaticPermissions::allow_all()).await?;
    stage.install_bare(BARE).await?;
    let bare = stage.launch(0, Party { app_id: BARE.into(), user: "ann".into() }).await?;
    refused(&bare, &methods, &mut report).await;
    stage.host.shutdown();
    Ok(report)
}

fn is_free(name: &str) -> bool {
    permission::by_name(name).is_some_and(|spec| spec.free)
}

/// With nothing granted, no method with a permission of its own is let through, and none is carried out.
async fn refused(app: &Player, methods: &[(String, String)], report: &mut Report) {
    for (method, permission) in methods.iter().filter(|(_, permission)| !is_free(permission)) {
        let before = carried_out(app, method);
        let mut found = |transport| {
            let (method, granted) = (method.clone(), "nothing".to_owned());
            report.find(Finding::Ungated { method, transport, granted });
        };
        let by_page = app.instance.dispatch(method, "{}").await;
        if !by_page.is_err_and(|error| error.code == code::PERMISSION_DENIED) {
            found(Transport::Dispatch);
        }
        // An app without the import has no such way.
        let imported = app.party.app_id != BARE;
        if imported && !is_denied(app.make(&Sample::new(method, json!({})), None).await) {
            found(Transport::Import);
        }
        if carried_out(app, method) != before {
            let granted = format!("nothing (`{permission}` is needed)");
            let method = method.clone();
            report.find(Finding::Ungated { method, transport: Transport::Dispatch, granted });
        }
    }
}

/// With one permission granted, its methods are let through and no others.
async fn granted(app: &Player, methods: &[(String, String)], granted: &String, report: &mut Report) {
    for (method, permission) in methods.iter().filter(|(_, permission)| !is_free(permission)) {
        match app.instance.authorize(method).await {
            Ok(()) if permission == granted => {}
            Ok(()) => {
                let (method, granted) = (method.clone(), format!("`{granted}`"));
                report.find(Finding::Ungated { method, transport: Transport::Dispatch, granted });
            }
            // A host may rule a permission out for everybody.
            Err(error) if permission == granted && !is_policy(&error) => {
                let (method, permission) = (method.clone(), permission.clone());
                report.find(Finding::Shut { method, permission, why: error.to_string() });
            }
            Err(_) => {}
        }
        if permission != granted && !is_denied(app.make(&Sample::new(method, json!({})), None).await) {
            let (method, granted) = (method.clone(), format!("`{granted}`"));
            report.find(Finding::Ungated { method, transport: Transport::Import, granted });
        }
    }
}

fn is_denied<T>(answer: Result<T, CallError>) -> bool {
    matches!(answer, Err(CallError::Rpc(error)) if error.code == code::PERMISSION_DENIED)
}

fn is_policy(error: &RpcError) -> bool {
    let reason = error.data.as_ref().and_then(|data| data.get("reason"));
    reason.is_some_and(|reason| reason == "policy")
}

/// How often the host has carried a method out for an app.
fn carried_out(app: &Player, method: &str) -> u64 {
    app.instance.metrics().bridge.get(method).map_or(0, |counts| counts.calls)
}

#[cfg(test)]
mod tests {
    use miniapp_runtime::Policy;

    use super::*;

    /// A host that allows everything, looked at as if it had allowed nothing: no method escapes the look.
    #[tokio::test]
    async fn each_method_that_is_let_through_is_found_on_each_way() {
        let stage = Stage::build(&Isolation::new(|host| host), StaticPermissions::allow_all()).await.unwrap();
        let (mut report, mut cast) = (Report::default(), cast().into_iter());
        let app = stage.launch(0, cast.next().unwrap()).await.unwrap();
        let methods = stage.methods();
        refused(&app, &methods, &mut report).await;
        for (method, permission) in methods {
            for way in [Transport::Dispatch, Transport::Import] {
                let found = |finding: &Finding| matches!(finding, Finding::Ungated { method: m, transport, .. } if *m == method && *transport == way);
                assert_eq!(report.findings.iter().any(found), !is_free(&permission), "{method} {way}");
            }
        }
    }

    #[tokio::test]
    async fn a_permission_that_policy_rules_out_is_not_missed() {
        let build = |host: HostBuilder| {
            host.policy(Policy { denied_permissions: vec!["files".into()], ..Policy::default() })
        };
        let report = Isolation::new(build).gate().await.unwrap();
        assert!(report.holds(), "{report}");
    }
}
