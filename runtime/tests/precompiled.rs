//! Code that one build compiles and another runs. Without the feature `compile` this takes what the build with it left
//! in the target folder; `make test` runs both, in this order.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::{Path, PathBuf};

use common::{APP, Package, builder, call, key};
use miniapp_runtime::{CodeError, Host, Instance, StaticPermissions};
use serde_json::json;

fn release(code: u64) -> Package {
    Package { code, ..Package::with(&["log"]) }
}

/// What one build leaves for the other.
fn code_of(release: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("release-{release}.code"))
}

/// A host that takes code from key 9, which signs nothing else.
fn open(folder: &Path) -> Host {
    builder(folder).code_from(key(9).public()).permissions(StaticPermissions::allow_all()).build().unwrap()
}

async fn echoes(app: &Instance) {
    assert_eq!(call(app, "echo", json!([1, "two"])).await, Ok(json!([1, "two"])));
}

#[cfg(feature = "compile")]
mod here {
    use miniapp_runtime::{Compiler, Policy, precompile};
    use mpkg_package::{Trust, verify};

    use super::*;

    fn compiled(release: u64, compiler: Compiler, signer: u8) -> Vec<u8> {
        let package = super::release(release).signed();
        let verified = verify(package, &Trust::key(&key(1).public())).unwrap();
        precompile(&verified, compiler, &Policy::default(), &key(signer)).unwrap()
    }

    fn compiles(host: &Host) -> String {
        let metrics = host.open_metrics();
        metrics.lines().find_map(|line| line.strip_prefix("miniapp_compiles_total ")).unwrap().to_owned()
    }

    /// For the build that cannot.
    #[test]
    fn what_another_build_runs_is_compiled_here() {
        for release in [1, 2] {
            std::fs::write(code_of(release), compiled(release, Compiler::Pulley, 9)).unwrap();
        }
    }

    #[tokio::test]
    async fn a_release_whose_code_is_given_is_not_compiled_here_nor_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let code = compiled(1, Compiler::from_environment().unwrap(), 9);
        for given in [true, false] {
            let host = open(folder.path());
            if given {
                host.install(release(1).signed()).await.unwrap();
                host.add_code(code.clone()).await.unwrap();
            }
            echoes(&host.launch(APP, "ann").await.unwrap()).await;
            assert_eq!(compiles(&host), "0");
            host.close().await;
        }
        // It goes with its package.
        let host = open(folder.path());
        host.uninstall(APP).await.unwrap();
        let error = host.add_code(code).await.unwrap_err();
        assert_eq!(error.code(), "MPKG-H10", "{error}");
        assert_eq!(std::fs::read_dir(folder.path().join("native")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn code_of_strangers_of_other_engines_and_for_other_releases_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let host = open(folder.path());
        host.install(release(1).signed()).await.unwrap();
        let own = Compiler::from_environment().unwrap();
        let other = if own == Compiler::Pulley { Compiler::Cranelift } else { Compiler::Pulley };
        let mut torn = compiled(1, own, 9);
        torn.pop();
        for (refused, file) in [
            ("MPKG-H70", compiled(1, own, 1)),
            ("MPKG-H70", torn),
            ("MPKG-H70", Vec::new()),
            ("MPKG-H10", compiled(2, own, 9)),
            ("MPKG-H71", compiled(1, other, 9)),
        ] {
            let error = host.add_code(file).await.unwrap_err();
            assert_eq!(error.code(), refused, "{error}");
            assert_eq!(matches!(error, CodeError::NotTrusted), refused == "MPKG-H70");
        }
        assert_eq!(std::fs::read_dir(folder.path().join("native")).unwrap().count(), 0);
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
        assert_ne!(compiles(&host), "0");
    }
}

#[cfg(not(feature = "compile"))]
mod elsewhere {
    use miniapp_runtime::LaunchError;
    use miniapp_runtime::updates::{Device, Switch};

    use super::common::fleet::shelve;
    use super::*;

    fn given(release: u64) -> Vec<u8> {
        let path = code_of(release);
        std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; the build with the feature `compile` writes it", path.display())
        })
    }

    #[tokio::test]
    async fn nothing_runs_but_what_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let host = open(folder.path());
        host.install(release(1).signed()).await.unwrap();
        for launch in [host.launch(APP, "ann").await.map(drop), host.prepare(APP).await] {
            let error = launch.unwrap_err();
            assert!(matches!(error, LaunchError::NoCode { .. }) && error.code() == "MPKG-H72", "{error}");
        }
        let mut torn = given(1);
        *torn.last_mut().unwrap() ^= 1;
        assert!(matches!(host.add_code(torn).await, Err(CodeError::NotTrusted)));
        host.add_code(given(1)).await.unwrap();
        host.prepare(APP).await.unwrap();
        let app = host.launch(APP, "ann").await.unwrap();
        echoes(&app).await;
        let caller = app.clone();
        let spinning = tokio::spawn(async move { caller.call_json("spin", "{}").await });
        // Its message is charged while it is at it.
        while app.metrics().memory_bytes.is_multiple_of(65536) {
            tokio::task::yield_now().await;
        }
        assert!(app.kill("test"));
        spinning.await.unwrap().unwrap_err();
        host.close().await;
        drop((app, host));
        echoes(&open(folder.path()).launch(APP, "ann").await.unwrap()).await;
    }

    #[tokio::test]
    async fn a_release_takes_the_place_of_another_when_its_code_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let host = open(folder.path());
        host.install(release(1).signed()).await.unwrap();
        host.add_code(given(1)).await.unwrap();
        let next = shelve(&host, &release(2)).await;
        let app = APP.parse().unwrap();
        for switch in [Switch::NextLaunch, Switch::AtOnce] {
            assert!(host.switch(&app, &next, switch).await.unwrap());
            echoes(&host.launch(APP, "ann").await.unwrap()).await;
            assert_eq!(host.shelf(&app).unwrap().current.unwrap().release_seq, 1);
        }
        host.add_code(given(2)).await.unwrap();
        for instance in host.instances() {
            instance.unload().await;
        }
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
        assert_eq!(host.shelf(&app).unwrap().current.unwrap().release_seq, 2);
    }
}
