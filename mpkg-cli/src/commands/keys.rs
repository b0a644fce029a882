//! `mpkg keys`

use serde::Serialize;

use crate::cli::{KeysCommand, KeysGenerate, KeysShow};
use crate::error::{Outcome, shell};
use crate::ops::keys::{self, Source};
use crate::ops::passphrase::Passphrases;
use crate::output::{Page, Printer, View};

pub(crate) fn run(command: KeysCommand, printer: Printer) -> Outcome {
    match command {
        KeysCommand::Generate(args) => generate(&args, printer),
        KeysCommand::Show(args) => show(&args, printer),
    }
}

#[derive(Debug, Serialize)]
struct Made {
    key_id: String,
    publisher: String,
    private_key: String,
    public_key: String,
    root: String,
    encrypted: bool,
    #[serde(skip)]
    trust: String,
}

impl View for Made {
    fn human(&self, page: &mut Page) {
        page.headline("Generated", "an Ed25519 signing key");
        page.field(
            "private key",
            &format!("{} (yours alone: keep it secret, and keep a copy)", self.private_key),
        );
        page.field(
            "encrypted",
            if self.encrypted {
                "yes, with your passphrase"
            } else {
                "no: whoever copies the file can sign (see --encrypt)"
            },
        );
        page.field("public key", &self.public_key);
        page.field("root", &format!("{} (give this to whoever runs your apps)", self.root));
        page.field("key id", &self.key_id);
        page.field("publisher", &self.publisher);
        page.heading("Next steps");
        page.command(&format!("mpkg sign app.mpkg --key {}", shell(std::path::Path::new(&self.private_key))));
        page.command(&format!("mpkg verify app.mpkg --trust {}", self.trust));
    }
}

fn generate(args: &KeysGenerate, printer: Printer) -> Outcome {
    let passphrases = Passphrases::new(args.passphrase.passphrase_file.clone(), printer.can_ask());
    let made = keys::generate(&args.out, args.force, args.encrypt, &passphrases)?;
    printer.result(&Made {
        key_id: made.key.id().to_string(),
        publisher: made.document.publisher_id().to_string(),
        private_key: made.private.display().to_string(),
        public_key: made.public.display().to_string(),
        trust: shell(&made.root),
        root: made.root.display().to_string(),
        encrypted: made.encrypted,
    })
}

#[derive(Debug, Serialize)]
struct Shown {
    kind: &'static str,
    publisher: String,
    keys: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Key {
    key_id: String,
    algorithm: &'static str,
    public_key: String,
}

impl View for Shown {
    fn human(&self, page: &mut Page) {
        page.field("source", &format!("a {}", self.kind));
        page.field("publisher", &self.publisher);
        for key in &self.keys {
            page.field("key id", &key.key_id);
            page.block(&key.public_key);
        }
    }
}

fn show(args: &KeysShow, printer: Printer) -> Outcome {
    let passphrases = Passphrases::new(args.passphrase.passphrase_file.clone(), printer.can_ask());
    let public = keys::public(&Source::parse(&args.key)?, &passphrases)?;
    let key = |key: &mpkg_package::keys::PublicKey| Key {
        key_id: key.id().to_string(),
        algorithm: "ed25519",
        public_key: key.to_pem(),
    };
    printer.result(&Shown {
        kind: public.kind,
        publisher: public.publisher.to_string(),
        keys: public.keys.iter().map(key).collect(),
    })
}
