//! Code that one build compiles and another runs. Without the feature `compile` this takes what the build with it left
//! in the target folder; `make test` runs both, in this order.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::{Path, PathBuf};

use common::{APP, Package, builder, call, key};
use miniapp_runtime::{Host, Instance, StaticPermissions};
use serde_json::json;

/// The release that does not start.
const BROKEN: u64 = 3;

fn release(code: u64) -> Package {
    let package = Package { code, ..Package::with(&["log"]) };
    if code < BROKEN {
        return package;
    }
    let component = wat::parse_str(common::puppet::when_launched("(unreachable)")).unwrap();
    Package { component, ..package }
}

/// What one build leaves for the other.
fn code_of(release: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("release-{release}.code"))
}

/// The same of release 1, for an engine that the other build does not have.
fn native_code() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("release-1.native")
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
    use miniapp_runtime::{CodeError, Compiler, Policy, precompile};
    use mpkg_package::{Trust, verify};

    use super::*;

    fn compiled(release: u64, compiler: Compiler, signer: u8) -> Vec<u8> {
        let package = super::release(release).signed();
        let verified = verify(package, &Trust::key(&key(1).public())).unwrap();
        precompile(&verified, compiler, &Policy::default(), &key(signer)).unwrap()
    }

    /// For the build that cannot.
    #[test]
    fn what_another_build_runs_is_compiled_here() {
        for release in [1, 2, BROKEN] {
            std::fs::write(code_of(release), compiled(release, Compiler::Pulley, 9)).unwrap();
        }
        std::fs::write(native_code(), compiled(1, Compiler::Cranelift, 9)).unwrap();
    }

    #[tokio::test]
    async fn a_release_whose_code_is_given_is_not_compiled_here_nor_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let code = compiled(1, Compiler::from_environment().unwrap(), 9);
        for given in [true, false] {
            let host = open(folder.path());
            if given {
                host.add_code(code.clone()).await.unwrap();
                host.install(release(1).signed()).await.unwrap();
            }
            echoes(&host.launch(APP, "ann").await.unwrap()).await;
            assert_eq!(common::compiled(&host), 0);
            host.close().await;
        }
        // It goes with its package, and if that never came, with the host.
        let kept = || std::fs::read_dir(folder.path().join("native")).unwrap().count();
        let host = open(folder.path());
        host.uninstall(APP).await.unwrap();
        assert_eq!(kept(), 0);
        host.add_code(code).await.unwrap();
        assert_eq!(kept(), 1);
        drop(host);
        open(folder.path());
        assert_eq!(kept(), 0);
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
            ("MPKG-H71", compiled(1, other, 9)),
        ] {
            let error = host.add_code(file).await.unwrap_err();
            assert_eq!(error.code(), refused, "{error}");
            assert_eq!(matches!(error, CodeError::NotTrusted), refused == "MPKG-H70");
        }
        assert_eq!(std::fs::read_dir(folder.path().join("native")).unwrap().count(), 0);
        host.add_code(compiled(2, own, 9)).await.unwrap();
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
        assert_ne!(common::compiled(&host), 0);
    }
}

#[cfg(not(feature = "compile"))]
mod elsewhere {
    use miniapp_runtime::updates::{Device, Switch};
    use miniapp_runtime::{InstallError, LaunchError};

    use super::common::fleet::{Registry, shelve};
    use super::*;

    fn given(release: u64) -> Vec<u8> {
        read(&code_of(release))
    }

    fn read(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap_or_else(|error| {
            panic!("{}: {error}; the build with the feature `compile` writes it", path.display())
        })
    }

    fn app() -> mpkg_manifest::AppId {
        APP.parse().unwrap()
    }

    fn current(host: &Host) -> u64 {
        host.shelf(&app()).unwrap().current.unwrap().release_seq
    }

    /// Where the host keeps what it was given: for the one release of which there is code.
    fn code_file(folder: &Path) -> PathBuf {
        let mut files = std::fs::read_dir(folder.join("native")).unwrap();
        files.next().unwrap().unwrap().path()
    }

    /// A host that runs release 1.
    async fn with_first(folder: &Path) -> Host {
        let host = open(folder);
        host.add_code(given(1)).await.unwrap();
        host.install(release(1).signed()).await.unwrap();
        host
    }

    #[tokio::test]
    async fn nothing_runs_but_what_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let host = open(folder.path());
        let error = host.install(release(1).signed()).await.unwrap_err();
        assert!(matches!(error, InstallError::NoCode { .. }) && error.code() == "MPKG-H72", "{error}");
        let mut torn = given(1);
        *torn.last_mut().unwrap() ^= 1;
        for (refused, file) in [("MPKG-H70", torn), ("MPKG-H71", read(&native_code()))] {
            let error = host.add_code(file).await.unwrap_err();
            assert_eq!(error.code(), refused, "{error}");
        }
        host.add_code(given(1)).await.unwrap();
        host.install(release(1).signed()).await.unwrap();
        host.prepare(APP).await.unwrap();
        let instance = host.launch(APP, "ann").await.unwrap();
        echoes(&instance).await;
        let caller = instance.clone();
        let spinning = tokio::spawn(async move { caller.call_json("spin", "{}").await });
        // Its message is charged while it is at it.
        while instance.metrics().memory_bytes.is_multiple_of(65536) {
            tokio::task::yield_now().await;
        }
        assert!(instance.kill("test"));
        spinning.await.unwrap().unwrap_err();

        // What would replace it needs code as well, and until then leaves it alone.
        assert!(matches!(host.install(release(2).signed()).await, Err(InstallError::NoCode { .. })));
        host.close().await;
        drop((instance, host));
        let host = open(folder.path());
        assert_eq!(current(&host), 1);
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
    }

    #[tokio::test]
    async fn code_that_was_damaged_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let host = with_first(folder.path()).await;
        drop(host);
        let file = code_file(folder.path());
        let mut code = std::fs::read(&file).unwrap();
        *code.last_mut().unwrap() ^= 1;
        std::fs::write(&file, code).unwrap();
        let host = open(folder.path());
        for refused in [host.launch(APP, "ann").await.map(drop), host.prepare(APP).await] {
            let error = refused.unwrap_err();
            assert!(matches!(error, LaunchError::NoCode { .. }) && error.code() == "MPKG-H72", "{error}");
        }
        host.add_code(given(1)).await.unwrap();
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
    }

    #[tokio::test]
    async fn a_release_takes_the_place_of_another_when_its_code_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let host = with_first(folder.path()).await;
        let first = code_file(folder.path());
        let next = shelve(&host, &release(2)).await;
        let has_code =
            || -> Vec<bool> { host.releases(APP).unwrap().iter().map(|release| release.has_code).collect() };
        assert_eq!(has_code(), [true, false]);
        let bobs = host.launch(APP, "bob").await.unwrap();
        for switch in [Switch::NextLaunch, Switch::AtOnce] {
            assert!(!host.switch(&app(), &next, switch).await.unwrap());
            echoes(&host.launch(APP, "ann").await.unwrap()).await;
            assert_eq!(current(&host), 1);
        }
        host.add_code(given(2)).await.unwrap();
        assert_eq!(has_code(), [true, true]);
        assert!(host.switch(&app(), &next, Switch::NextLaunch).await.unwrap());

        // It is next, and its code is gone: nobody is ended for it, and what runs is asked for.
        let kept = std::fs::read_dir(folder.path().join("native")).unwrap();
        let second = kept.map(|it| it.unwrap().path()).find(|path| *path != first).unwrap();
        let code = std::fs::read(&second).unwrap();
        std::fs::remove_file(&second).unwrap();
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
        assert_eq!(current(&host), 1);
        host.prepare(APP).await.unwrap();
        assert!(host.fit(APP).await.unwrap().fits());
        echoes(&bobs).await;

        std::fs::write(&second, code).unwrap();
        for instance in host.instances() {
            instance.unload().await;
        }
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
        assert_eq!(current(&host), 2);
    }

    /// The fleet has thought better of what was to be next, and what it wants instead is yet to be given code.
    #[tokio::test]
    async fn what_is_not_wanted_any_more_does_not_run_for_want_of_code() {
        let folder = tempfile::tempdir().unwrap();
        let host = with_first(folder.path()).await;
        host.add_code(given(2)).await.unwrap();
        let (second, third) = (shelve(&host, &release(2)).await, shelve(&host, &release(BROKEN)).await);
        let next = || host.shelf(&app()).unwrap().next.map(|release| release.release_seq);
        assert!(host.switch(&app(), &second, Switch::NextLaunch).await.unwrap());
        assert_eq!(next(), Some(2));
        assert!(!host.switch(&app(), &third, Switch::NextLaunch).await.unwrap());
        assert_eq!(next(), None);
        echoes(&host.launch(APP, "ann").await.unwrap()).await;
        assert_eq!(current(&host), 1);
    }

    #[tokio::test]
    async fn what_fails_to_start_goes_back_to_what_has_code_and_to_nothing_else() {
        for has_code in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let host = open(folder.path());
            host.obey(&Registry::default().orders());
            host.add_code(given(1)).await.unwrap();
            let first = code_file(folder.path());
            for n in [1, BROKEN] {
                host.add_code(given(n)).await.unwrap();
                let offered = shelve(&host, &release(n)).await;
                assert!(host.switch(&app(), &offered, Switch::NextLaunch).await.unwrap());
                if n == 1 {
                    let good = host.launch(APP, "ann").await.unwrap();
                    echoes(&good).await;
                    good.kill("done");
                }
            }
            if !has_code {
                std::fs::remove_file(&first).unwrap();
            }
            for _ in 0..3 {
                let error = host.launch(APP, "ann").await.unwrap_err();
                assert!(matches!(error, LaunchError::Stopped { .. }), "{error}");
            }
            match host.launch(APP, "ann").await {
                Ok(_) => assert!(has_code && current(&host) == 1),
                Err(error) => {
                    assert!(!has_code && matches!(error, LaunchError::Quarantined { .. }), "{error}")
                }
            }
        }
    }
}
