use alloc::string::ToString;
use std::format;

use quickcheck::quickcheck;

use super::*;
use crate::metainfo::magnet::{Encoded, Magnet, ParseMagnetError, is_magnet};

const HASH: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";

/// A link with a name and two trackers.
fn plain() -> (String, Magnet) {
    let link = format!(
        "magnet:?xt=urn:btih:{HASH}&dn=a%20b&tr=http%3A%2F%2Ft%2Fannounce%3Fk%3D1%26l&tr=udp%3A%2F%2Fu:1"
    );
    let magnet: Magnet = link.parse().unwrap();
    assert_eq!(magnet.name.as_deref(), Some("a b"));
    assert_eq!(magnet.trackers, ["http://t/announce?k=1&l", "udp://u:1"]);
    (link, magnet)
}

#[test]
fn what_a_link_is_wrapped_in_is_no_part_of_it() {
    let (link, magnet) = plain();
    for (before, after) in [
        (" ", "\r\n"),
        ("\"", "\""),
        ("'", "'"),
        ("<", ">"),
        ("<\"", "\">"),
        ("‘", "’"),
        ("“", "”"),
        ("«", "»"),
        ("`", "`"),
        ("(", ")"),
        ("\u{feff}", ""),
        ("", "\">"),
    ] {
        let wrapped = format!("{before}{link}{after}");
        assert_eq!(wrapped.parse(), Ok(magnet.clone()), "{wrapped}");
        assert!(is_magnet(&wrapped));
    }
    // An apostrophe of the name's own stays.
    let magnet: Magnet = format!("magnet:?xt=urn:btih:{HASH}&dn=rock'n'")
        .parse()
        .unwrap();
    assert_eq!(magnet.name.as_deref(), Some("rock'n'"));
}

#[test]
fn the_scheme_is_read_in_all_its_spellings() {
    let (link, magnet) = plain();
    let query = link.strip_prefix("magnet:?").unwrap();
    for start in [
        "MAGNET:?",
        "magnet:/?",
        "magnet://?",
        "magnet:///?",
        "magnet:",
        "magnet://",
    ] {
        let link = format!("{start}{query}");
        assert_eq!(link.parse(), Ok(magnet.clone()), "{link}");
    }
}

#[test]
fn a_link_that_is_percent_encoded_as_a_whole_is_decoded() {
    let (link, magnet) = plain();
    let once = Encoded(&link).to_string();
    let twice = Encoded(&once).to_string();
    let rest = Encoded(link.strip_prefix("magnet:").unwrap()).to_string();
    let query = Encoded(link.strip_prefix("magnet:?").unwrap()).to_string();
    for link in [
        once,
        twice,
        format!("magnet:{rest}"),
        format!("magnet:?{query}"),
    ] {
        assert_eq!(link.parse(), Ok(magnet.clone()), "{link}");
    }
    // One that is encoded without end is none.
    let mut link = link;
    for _ in 0..10 {
        link = Encoded(&link).to_string();
    }
    assert_eq!(link.parse::<Magnet>(), Err(ParseMagnetError::NotMagnet));
}

#[test]
fn what_a_link_is_wrapped_in_may_be_percent_encoded_as_well() {
    let (link, magnet) = plain();
    let once = Encoded(&link).to_string();
    let twice = Encoded(&once).to_string();
    for link in [
        format!("%22{link}%22"),
        format!("%3C{link}%3E"),
        format!("%3c{link}%3e and more"),
        format!("%20{link}"),
        format!("%28{link}%29"),
        format!("%60{link}%60"),
        format!("%22{once}%22"),
        format!("%2522{twice}%2522"),
        format!("%2522{link}%2522"),
        format!("%22{link}"),
        format!("&quot;{link}&quot;"),
        format!("&lt;{link}&gt; and more"),
        format!("&#39;{link}&#39;"),
    ] {
        assert_eq!(link.parse(), Ok(magnet.clone()), "{link}");
        assert!(is_magnet(&link));
    }
    // What is at the end alone is the name's.
    let magnet: Magnet = format!("magnet:?xt=urn:btih:{HASH}&dn=say%20%22a%22")
        .parse()
        .unwrap();
    assert_eq!(magnet.name.as_deref(), Some("say \"a\""));
}

#[test]
fn a_link_is_found_in_markup_and_behind_words() {
    let (link, magnet) = plain();
    let amp = link.replace('&', "&amp;");
    for text in [
        format!("[name]({link})"),
        format!("[http://a/b?c name](<{link}>)"),
        format!("![x](y) [name]({link} \"a title\")"),
        format!("* [{link}]({link})"),
        format!("[{}...]({link})", &link[..30]),
        format!("`{link}`"),
        format!("``` \n{link}\n```"),
        format!("**{link}"),
        format!("so: → {link}"),
        format!("\u{1f9f2}{link}"),
        format!("<a href=\"{amp}\">name</a>"),
        format!("<a class='x' href='{amp}' title='y'>name</a>"),
        format!("<A HREF=\"{link}\">{link}</A>"),
        format!("<a href={amp}>name</a>"),
        format!("<b>{amp}</b>"),
        format!("<p><a rel=\"nofollow\" href=\"{amp}\"><img src=\"http://a/magnet.png\"/></a></p>"),
        format!("{amp}\">name</a>"),
        format!("{amp}<br/>more"),
        format!("Magnet: {link}"),
        format!("magnet:{link}"),
        format!("Magnet link: {link}\n"),
        format!("url={link}"),
        format!("My film (2020), 1/2: \"{link}\", enjoy"),
        format!("| {link} "),
        format!("({link}), I think"),
        format!("{link}\n{link}"),
    ] {
        let found: Result<Magnet, _> = text.parse();
        assert_eq!(
            found.as_ref().map(|found| found.info_hash),
            Ok(magnet.info_hash),
            "{text}"
        );
        let found = found.unwrap();
        assert_eq!(found.name, magnet.name, "{text}");
        assert_eq!(found.trackers[0], magnet.trackers[0], "{text}");
        assert!(is_magnet(&text));
    }
    for text in [
        format!("**{link}**"),
        format!("so: _{link}_"),
        format!("||{link}|| and more"),
        format!("~~{link}~~"),
        format!("[url]{link}[/url]"),
        format!("[url={link}]a name[/url]"),
        format!("[code]{link}[/code], [b]more[/b]"),
    ] {
        assert_eq!(text.parse(), Ok(magnet.clone()), "{text}");
    }
    // Pairs within a name are the name's.
    for (text, name) in [
        ("[x](magnet:?xt=urn:btih:HASH&dn=a (b) [c])", "a (b) [c]"),
        ("'magnet:?xt=urn:btih:HASH&dn=rock'n'roll'", "rock'n'roll"),
        (
            "<a href='magnet:?xt=urn:btih:HASH&dn=rock'n'roll'>",
            "rock'n'roll",
        ),
        ("(magnet:?xt=urn:btih:HASH&dn=a (b)", "a (b)"),
    ] {
        let magnet: Magnet = text.replace("HASH", HASH).parse().unwrap();
        assert_eq!(magnet.name.as_deref(), Some(name), "{text}");
    }
    // A text goes on behind the hash.
    for behind in [" here you are", ".", ",", "\u{a0}x", "...", ")"] {
        let text = format!("magnet:?xt=urn:btih:{HASH}{behind}");
        assert_eq!(
            text.parse(),
            Ok(Magnet::new(HASH.parse().unwrap())),
            "{text}"
        );
    }
}

#[test]
fn lines_are_put_together() {
    let (link, magnet) = plain();
    for end in [
        "\n",
        "\r\n",
        "\n  ",
        "\n> ",
        "\r\n>> > ",
        "\n\t",
        "\u{200b}",
        "\u{ad}",
    ] {
        for at in [5, 9, 20, 30, 70, 100] {
            let text = format!("{}{end}{}", &link[..at], &link[at..]);
            // A word that is broken is no word.
            if at > 6 {
                assert_eq!(text.parse(), Ok(magnet.clone()), "{text:?}");
                assert_eq!(format!("<{text}>").parse(), Ok(magnet.clone()), "{text:?}");
            }
        }
    }
    // As in a mail's source.
    let quoted = link.replace('=', "=3D").replace("&tr", "&t=\r\nr");
    assert_eq!(quoted.parse(), Ok(magnet.clone()), "{quoted}");
    assert_eq!(
        format!("<a href=3D\"{quoted}\">").parse(),
        Ok(magnet),
        "{quoted}"
    );
}

#[test]
fn several_torrents_are_not_one() {
    let (link, magnet) = plain();
    let other = link.replace("c12f", "0000");
    for between in [" ", "\n", "\r\n\r\n", ", ", " and ", "<br>", "\u{a0}"] {
        let text = format!("{link}{between}{other}");
        assert_eq!(
            text.parse::<Magnet>(),
            Err(ParseMagnetError::Several),
            "{text:?}"
        );
        assert!(is_magnet(&text));
    }
    // Only one of them can be used.
    let cut = format!("magnet:?xt=urn:btih:c12f... {link}");
    assert_eq!(cut.parse(), Ok(magnet.clone()));
    // A parameter of a link is none beside it.
    let inside = format!("{link}&as=magnet:?xt=urn:btih:{}", "0".repeat(40));
    assert_eq!(
        inside.parse::<Magnet>().unwrap().info_hash,
        magnet.info_hash
    );
}

#[test]
fn paths_and_addresses_with_a_link_in_them_are_none() {
    for text in [
        "./magnet:?xt=urn:btih:HASH",
        "/tmp/magnet:?xt=urn:btih:HASH",
        "C:\\magnet:?xt=urn:btih:HASH",
        "a/b=magnet:?xt=urn:btih:HASH",
        "a.magnet:?xt=urn:btih:HASH",
        "a_magnet:?xt=urn:btih:HASH",
        "http://a/?to=magnet:?xt=urn:btih:HASH",
        "https://a/magnet%3A%3Fxt%3Durn%3Abtih%3AHASH",
        "http://a/x.torrent?m=%22magnet:?xt=urn:btih:HASH%22",
        "my magnet.torrent",
        "electromagnet: what is it?",
        "the magnet: a film.torrent",
        "magnetic",
        "magnet",
        "Magnet",
    ] {
        let text = text.replace("HASH", HASH);
        assert_eq!(
            text.parse::<Magnet>(),
            Err(ParseMagnetError::NotMagnet),
            "{text}"
        );
        assert!(!is_magnet(&text), "{text}");
    }
}

#[test]
fn a_text_of_nothing_but_beginnings_is_read_in_time() {
    for part in [
        "magnet:?",
        "magnet",
        "magnet%",
        " magnet:?xt=",
        "\"magnet:?'",
        "(magnet:/",
        "%22magnet:?",
    ] {
        let text = part.repeat(MAX_MAGNET_LEN / part.len() + 10);
        assert!(text.parse::<Magnet>().is_err(), "{part}");
    }
}

quickcheck! {
    fn any_text_around_a_link_is_survived(before: String, after: String) -> bool {
        let text = format!("{before}magnet:?xt=urn:btih:{HASH}{after}");
        let _ = text.parse::<Magnet>();
        let _ = is_magnet(&text);
        true
    }

    fn whatever_is_made_of_wraps_is_survived(drawn: Vec<u8>) -> bool {
        let parts = [
            "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a", "magnet%3A%3Fxt%3D", "\"", "'", "<", ">",
            "(", ")", "](", "&quot;", "%22", "%2522", "\n", " ", "&amp;", "=3D", "é", "‘", "a", "://", "magnet:",
        ];
        let text: String = drawn.iter().map(|part| parts[usize::from(*part) % parts.len()]).collect();
        text.parse::<Magnet>().map_or(true, |magnet| magnet.to_string().parse() == Ok(magnet))
    }
}
