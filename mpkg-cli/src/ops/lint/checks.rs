//! The table of what `mpkg lint` looks for. Each row has a case that triggers it and one that just does not, under
//! `tests/lint`.

use crate::ops::finding::checks;

checks! {
    PRIVATE_KEY = "MPKG-L01", Error, "No private key in a package",
        "Whoever installs the app can read every file of its package. A private key in it is public from the first \
         download on, and so is whatever it signs or opens.",
        "Remove it and replace the key: it counts as stolen if this package was ever shared.";
    TOKEN = "MPKG-L02", Error, "No access token in a package",
        "Tokens of well-known services have a known shape, and robots search published packages for them within \
         minutes. They act in your name until they are revoked.",
        "Remove it, revoke it with the service, and let a server of yours make the call.";
    JWT = "MPKG-L03", Error, "No signed token in a package",
        "A JSON Web Token stands for a login. In a package everybody has it, and most cannot be revoked before they \
         expire.",
        "Remove it, and fetch one for each user when it is needed.";
    SECRET = "MPKG-L04", Error, "No app secret in a package",
        "An app secret or API key in a Mini App's code is the most common leak on every Super App platform: it lets \
         anybody call the platform as this app.",
        "Keep the secret on a server. If the value is meant to be public, pass `--allow MPKG-L04`.";
    UNREFERENCED = "MPKG-L10", Warning, "Every file is used",
        "A file that nothing names is downloaded by every user and reviewed by nobody: a leftover, a draft, or \
         something that should not have left the house.",
        "Remove it from `assets/`, or name it where it is used.";
    STRIPPABLE = "MPKG-L20", Warning, "No debug information in the component",
        "Names and debug sections cost every user's download and the host's memory, and show paths and symbols of \
         your source. No host looks at them.",
        "Build with `mpkg build`, or remove them: `wasm-tools strip`.";
    LARGE_FILE = "MPKG-L21", Warning, "No needlessly large file",
        "A package is loaded as a whole before its app starts. One large picture or video costs more start-up time \
         than all code together.",
        "Compress or scale it down, or fetch it when it is needed.";
    NO_REASON = "MPKG-L30", Warning, "Each permission has a reason",
        "The user is asked before the app starts and sees nothing but this sentence. A question without a reason is \
         answered with no, or by habit.",
        "Add a `reason`: one sentence that says what the user gets from it.";
    ICON_SIZE = "MPKG-L40", Warning, "Icons have the size they declare",
        "Hosts choose an icon by its declared size. If that is wrong they scale, and the icon is blurred or distorted \
         on the user's home screen.",
        "Correct `sizes`, or export the image in that size.";
    ICON_NO_SIZE = "MPKG-L41", Warning, "Icons declare their sizes",
        "Without `sizes` a host must load an image to learn whether it fits.",
        "Add `sizes`, such as \"96x96\", or \"any\" for an SVG.";
    ICON_NO_LABEL = "MPKG-L42", Warning, "Icons have a label",
        "A screen reader has nothing to say about a picture without a label.",
        "Add a `label` that says what the picture shows.";
    ICON_LARGE = "MPKG-L43", Warning, "Icons are small files",
        "Hosts show lists of many apps and load every icon for them.",
        "Keep each icon below 128 KiB: fewer pixels, fewer colours, or an SVG.";
    ICON_FORMAT = "MPKG-L44", Warning, "Icons are images that hosts can show",
        "A file that is neither PNG, SVG, JPEG, WebP nor GIF shows as an empty square.",
        "Save the icon as PNG or SVG.";
    ICON_SMALL = "MPKG-L45", Warning, "One icon is large enough",
        "Of pictures below 48 by 48 pixels none is sharp on a phone.",
        "Add an icon of at least 48x48, better 192x192, or an SVG.";
    NO_LANG = "MPKG-L50", Warning, "The manifest says its language",
        "Screen readers choose a voice, and hosts a font and a direction, by `lang`. Without it they guess.",
        "Add `lang`, such as \"en\" or \"zh-Hans\".";
    MIXED_LANG = "MPKG-L51", Warning, "The texts are in the language that is declared",
        "A description in a script that does not belong to `lang` is read out as noise and shown in the wrong font.",
        "Write all texts in the language of `lang`, or correct `lang`.";
    DIRECTION = "MPKG-L52", Warning, "Direction fits the language",
        "Text of a right-to-left language that is laid out from the left puts punctuation and numbers in the wrong \
         places, and prices read differently.",
        "Correct `dir`, or leave it out: the default follows the text.";
}
