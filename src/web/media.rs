//! Header fields that tell a browser what kind of content a blob is. Name and type come from the uploader, and must not
//! make a browser execute something in the canister's origin.

/// The type of a blob whose declared type is not valid.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Types, in addition to sound and video, that a browser shows and does not execute: raster images and plain text.
/// Everything else is downloaded when it is opened, above all HTML, SVG and XML, which may contain scripts, and PDF,
/// whose viewers do not work in a sandbox. An `<img>` still shows an SVG, but a browser does not run the scripts in it.
const SHOWN_TYPES: &[&str] = &[
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/tiff",
    "image/vnd.microsoft.icon",
    "image/webp",
    "image/x-icon",
    "text/plain",
];

/// The content security policy of a page that a browser generates for a blob: the page may show images and media of the
/// canister's origin, and run nothing.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";

/// Returns the value of `content-type`.
pub fn content_type(mime_type: &str) -> String {
    let essence = essence(mime_type);
    if essence == "text/plain" { format!("{essence}; charset=utf-8") } else { essence }
}

/// Returns the value of `content-disposition`: whether a browser shows or downloads the blob, and under which name.
pub fn content_disposition(mime_type: &str, name: &str) -> String {
    let essence = essence(mime_type);
    let is_shown = SHOWN_TYPES.contains(&essence.as_str())
        || essence.starts_with("audio/")
        || essence.starts_with("video/");
    let how = if is_shown { "inline" } else { "attachment" };
    if name.is_empty() { how.into() } else { format!("{how}; filename*=UTF-8''{}", percent_encoded(name)) }
}

/// Returns type and subtype in lower case, without parameters: a browser needs none for a complete file. Returns
/// [`UNKNOWN_TYPE`] for an invalid or composite type.
fn essence(mime_type: &str) -> String {
    let essence = mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_well_formed =
        essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    // A browser splits composite types into their parts instead of showing them.
    let is_composite = essence.starts_with("multipart/") || essence.starts_with("message/");
    if is_well_formed && !is_composite { essence } else { UNKNOWN_TYPE.into() }
}

/// Returns whether a text is a token of HTTP (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Encodes a text for a header field (RFC 8187).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn images_are_shown_and_executable_types_are_downloaded() {
        for (mime_type, expected, how) in [
            ("image/jpeg", "image/jpeg", "inline"),
            ("IMAGE/PNG", "image/png", "inline"),
            ("video/mp4; codecs=\"avc1\"", "video/mp4", "inline"),
            ("audio/ogg", "audio/ogg", "inline"),
            ("text/plain", "text/plain; charset=utf-8", "inline"),
            ("text/plain;charset=latin1", "text/plain; charset=utf-8", "inline"),
            ("text/html", "text/html", "attachment"),
            ("text/html;text/plain", "text/html", "attachment"),
            ("image/svg+xml", "image/svg+xml", "attachment"),
            ("application/xhtml+xml", "application/xhtml+xml", "attachment"),
            ("text/xml", "text/xml", "attachment"),
            ("text/javascript", "text/javascript", "attachment"),
            ("application/pdf", "application/pdf", "attachment"),
            ("application/x-unheard-of", "application/x-unheard-of", "attachment"),
            ("multipart/x-mixed-replace", UNKNOWN_TYPE, "attachment"),
            ("message/rfc822", UNKNOWN_TYPE, "attachment"),
            ("", UNKNOWN_TYPE, "attachment"),
            ("image", UNKNOWN_TYPE, "attachment"),
            ("image/", UNKNOWN_TYPE, "attachment"),
            ("image/a b", UNKNOWN_TYPE, "attachment"),
            ("image/png\r\nset-cookie: a=b", UNKNOWN_TYPE, "attachment"),
            ("image/ünicode", UNKNOWN_TYPE, "attachment"),
        ] {
            assert_eq!(content_type(mime_type), expected, "{mime_type:?}");
            assert_eq!(content_disposition(mime_type, ""), how, "{mime_type:?}");
        }
    }

    #[test]
    fn a_file_name_is_written_so_that_no_header_breaks() {
        assert_eq!(content_disposition("image/png", "a b.png"), "inline; filename*=UTF-8''a%20b.png");
        let odd = content_disposition("text/html", "\"../grüße\r\n;.html");
        assert_eq!(odd, "attachment; filename*=UTF-8''%22..%2Fgr%C3%BC%C3%9Fe%0D%0A%3B.html");
    }

    proptest! {
        #[test]
        fn any_name_and_type_make_one_line_of_ascii(name in "\\PC{0,30}|.{0,30}", mime in ".{0,30}") {
            for field in [content_type(&mime), content_disposition(&mime, &name)] {
                prop_assert!(field.bytes().all(|b| (b' '..=b'~').contains(&b)), "{:?}", field);
            }
        }
    }
}
