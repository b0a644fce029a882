//! Keys and publishers: where they come from and where they go.

use std::io::Read;
use std::path::{Path, PathBuf};

use mpkg_package::keys::{KeyError, PublicKey, SecretKey, is_encrypted};
use mpkg_package::limits;
use mpkg_package::root::{PublisherId, Root, RootError, RootFile, Trust, TrustError};
use zeroize::Zeroizing;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::passphrase::Passphrases;
use crate::rules;

/// How a key in PEM begins.
pub(crate) const PEM_MARK: &str = "-----BEGIN";

/// Where a key is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Stdin,
    Env(String),
}

impl Source {
    /// `-`, `env:NAME`, or a path.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        if text.contains(PEM_MARK) {
            return Err(on_the_command_line());
        }
        Ok(match text.strip_prefix("env:") {
            Some(name) => Self::Env(name.to_owned()),
            None if text == "-" => Self::Stdin,
            None => Self::File(PathBuf::from(text)),
        })
    }

    /// Reads what is there, up to a byte beyond the limit; it may be a secret.
    fn read(&self, limit: usize) -> Outcome<Zeroizing<Vec<u8>>> {
        let limit = limit as u64;
        let failed = |message: String, hint: &str| {
            Err(Failure::new(&rules::KEY_SOURCE, Exit::Failed, message).hint(hint))
        };
        match self {
            Self::File(path) => Ok(Zeroizing::new(files::read(path, limit)?)),
            Self::Stdin => {
                let mut bytes = Zeroizing::new(Vec::new());
                std::io::stdin()
                    .lock()
                    .take(limit + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|error| Failure::read(Path::new("standard input"), &error))?;
                if bytes.is_empty() {
                    return failed(
                        "standard input is empty".to_owned(),
                        "`-` reads a key from it: pipe one in.",
                    );
                }
                Ok(bytes)
            }
            Self::Env(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(Zeroizing::new(text.into_bytes())),
                _ => failed(
                    format!("the environment variable {name} is not set"),
                    "It must hold the key itself, in PEM; export it, or pass a file's path.",
                ),
            },
        }
    }

    /// How to name it in a message.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
            Self::Env(name) => format!("the environment variable {name}"),
        }
    }

    /// A warning, if others can read the private key in this file.
    pub(crate) fn too_open(&self) -> Option<String> {
        let Self::File(path) = self else { return None };
        files::too_open(path, "private key")
    }
}

/// The refusal of a key that stands in the shell's history and in the list of processes. It does not repeat it.
pub(crate) fn on_the_command_line() -> Failure {
    let message = "a key must not stand on the command line, where other users can read it";
    Failure::new(&rules::KEY_SOURCE, Exit::Usage, message)
        .hint("Put it into a file, or into an environment variable and pass env:NAME.")
}

/// Reads a private key, encrypted or not.
pub(crate) fn secret(source: &Source, passphrases: &Passphrases) -> Outcome<SecretKey> {
    let bytes = source.read(limits::KEY_FILE)?;
    let text = pem_text(source, &bytes)?;
    open(source, text, passphrases).map_err(|failure| match failure {
        Opening::Failed(failure) => failure,
        Opening::Refused(error @ (KeyError::WrongKind { .. } | KeyError::NotPem)) => {
            key_failure(source, &error)
                .hint("Signing needs the private key that `mpkg keys generate --out FILE` wrote to FILE.")
        }
        Opening::Refused(error) => key_failure(source, &error),
    })
}

enum Opening {
    Failed(Failure),
    Refused(KeyError),
}

fn open(source: &Source, text: &str, passphrases: &Passphrases) -> Result<SecretKey, Opening> {
    if !is_encrypted(text) {
        return SecretKey::from_pem(text).map_err(Opening::Refused);
    }
    let passphrase = passphrases.existing(&source.name()).map_err(Opening::Failed)?;
    SecretKey::from_encrypted_pem(text, &passphrase).map_err(Opening::Refused)
}

/// Reads whom to trust: a public key, a root document, a root file, or a publisher id.
pub(crate) fn trust(text: &str) -> Outcome<Trust> {
    // An id may stand on the command line by itself, unless a file has that name.
    if text.starts_with("mp1") && !Path::new(text).exists() {
        return Trust::parse(text.as_bytes()).map_err(|error| trust_failure(&format!("`{text}`"), &error));
    }
    let source = Source::parse(text)?;
    let bytes = source.read(limits::ROOT_FILE)?;
    Trust::parse(&bytes).map_err(|error| trust_failure(&source.name(), &error))
}

/// The public half of whatever key or root this is, and the publisher it makes.
#[derive(Debug)]
pub(crate) struct Public {
    pub(crate) kind: &'static str,
    pub(crate) keys: Vec<PublicKey>,
    pub(crate) publisher: PublisherId,
}

/// Reads the public half of a private key, a public key, or the keys of a root.
pub(crate) fn public(source: &Source, passphrases: &Passphrases) -> Outcome<Public> {
    let bytes = source.read(limits::ROOT_FILE)?;
    if bytes.trim_ascii_start().starts_with(b"{") {
        let file = RootFile::parse(&bytes).map_err(|error| root_failure(&source.name(), &error))?;
        let (chain, keys) = (file.chain(), file.chain().last().keys());
        let kind = if chain.len() == 1 { "root document" } else { "root file" };
        return Ok(Public { kind, publisher: chain.publisher(), keys: keys.values().cloned().collect() });
    }
    let text = pem_text(source, &bytes)?;
    let (kind, key) = if text.trim_ascii_start().starts_with("-----BEGIN PUBLIC KEY") {
        ("public key", PublicKey::from_pem(text).map_err(Opening::Refused))
    } else {
        ("private key", open(source, text, passphrases).map(|key| key.public()))
    };
    let key = key.map_err(|failure| match failure {
        Opening::Failed(failure) => failure,
        Opening::Refused(error) => {
            key_failure(source, &error).hint("Pass a private key, a public key or a root document.")
        }
    })?;
    Ok(Public { kind, publisher: Root::single(&key).publisher_id(), keys: vec![key] })
}

/// The files of a new key.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) private: PathBuf,
    pub(crate) public: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) key: PublicKey,
    pub(crate) document: Root,
    pub(crate) encrypted: bool,
}

/// Makes a key and writes its three files. The private one is encrypted where a passphrase is given, or asked for.
pub(crate) fn generate(
    out: &Path,
    force: bool,
    encrypt: bool,
    passphrases: &Passphrases,
) -> Outcome<Generated> {
    let (public, root) = (files::with_suffix(out, ".pub"), files::with_suffix(out, ".root.json"));
    for file in [out, &public, &root] {
        files::check_target(file)?;
        if !force && std::fs::symlink_metadata(file).is_ok() {
            return Err(files::exists(file).hint(
                "A key that is overwritten is lost. Choose another name, or pass --force if you mean it.",
            ));
        }
    }
    let passphrase = passphrases.fresh(encrypt)?;
    let failed =
        |error: KeyError| Failure::with_code(error.code(), Exit::Failed, format!("no key was made: {error}"));
    let secret = SecretKey::generate().map_err(failed)?;
    let pem = match &passphrase {
        Some(passphrase) => secret.to_encrypted_pem(passphrase).map_err(failed)?,
        None => secret.to_pem(),
    };
    let key = secret.public();
    let document = Root::single(&key);
    files::write(out, pem.as_bytes(), Secrecy::Private, force)?;
    files::write(&public, key.to_pem().as_bytes(), Secrecy::Public, force)?;
    files::write(&root, document.bytes(), Secrecy::Public, force)?;
    let encrypted = passphrase.is_some();
    Ok(Generated { private: out.to_owned(), public, root, key, document, encrypted })
}

fn pem_text<'a>(source: &Source, bytes: &'a [u8]) -> Outcome<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| key_failure(source, &KeyError::NotPem))
}

fn key_failure(source: &Source, error: &KeyError) -> Failure {
    Failure::with_code(error.code(), Exit::Failed, format!("{} cannot be used: {error}", source.name()))
}

fn root_failure(name: &str, error: &RootError) -> Failure {
    Failure::with_code(error.code(), Exit::Failed, format!("{name} cannot be used: {error}"))
}

fn trust_failure(name: &str, error: &TrustError) -> Failure {
    Failure::with_code(error.code(), Exit::Failed, format!("{name} names nobody to trust: {error}"))
        .hint("Pass the publisher's FILE.pub or FILE.root.json, or the id that begins with mp1.")
}
