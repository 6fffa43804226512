//! Human units, in and out.
//!
//! Read: `k`, `M`, `G`, `T` are powers of 1000 and `Ki`, `Mi`, `Gi`, `Ti` powers of 1024; a `B`, and for
//! rates a `/s`, may follow. Case does not matter.
//!
//! Written: powers of 1024, with a space before the unit, whatever it is: `37.7 MiB`, and `32 KiB` where it is
//! exactly that. Only in examples of what to type there is no space, since a shell would take it for the end.

use std::time::Duration;

use crate::output::text::printable;

/// Reads a number of bytes: `1048576`, `2MiB`, `500k`, `1.5M`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let scale: u64 = match unit.strip_suffix('b').unwrap_or(unit) {
        "" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "t" => 1000_u64.pow(4),
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        other => {
            return Err(format!(
                "unknown unit '{}'; write a number of bytes, or for example 500k, 1.5M or 2MiB",
                printable(other)
            ));
        }
    };
    scaled(number, scale)
        .ok_or_else(|| "not a size; write for example 1048576, 500k, 1.5M or 2MiB".to_owned())
}

/// Reads a limit in bytes a second: like a size, with an optional `/s`.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let rate = parse_size(
        trimmed
            .strip_suffix("/s")
            .or_else(|| trimmed.strip_suffix("/S"))
            .unwrap_or(trimmed),
    )?;
    if rate < 1024 {
        return Err("the smallest limit is 1KiB; for no limit leave the option out".to_owned());
    }
    Ok(rate)
}

/// Reads a duration: `200ms`, `90s`, `10m`, `2h`, `1d`, or several of them together: `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a duration; write for example 90s, 10m, 2h or 1h30m".to_owned();
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit.to_ascii_lowercase().as_str() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        rest = tail;
        millis = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(scale))
            .and_then(|part| part.checked_add(millis))
            .ok_or_else(wrong)?;
    }
    Ok(Duration::from_millis(millis))
}

/// Reads percent, `1%` or `0.05%`, into millionths; a hundred percent at most.
#[cfg(feature = "simulate")]
pub(crate) fn parse_percent(text: &str) -> Result<u32, String> {
    text.trim()
        .strip_suffix('%')
        .and_then(|number| scaled(number.trim_end(), 10_000))
        .and_then(|ppm| u32::try_from(ppm).ok())
        .filter(|ppm| *ppm <= 1_000_000)
        .ok_or_else(|| "not a percentage from 0% to 100%; write for example 1% or 0.5%".to_owned())
}

/// Reads a share ratio, `1` or `2.5`, into thousandths.
pub(crate) fn parse_ratio(text: &str) -> Result<u32, String> {
    scaled(text.trim(), 1000)
        .and_then(|permille| u32::try_from(permille).ok())
        .ok_or_else(|| "not a ratio; write for example 1 or 2.5".to_owned())
}

/// Reads the length of a torrent's pieces: a power of two from 16 KiB to 512 MiB.
pub(crate) fn parse_piece_length(text: &str) -> Result<u32, String> {
    let length = parse_size(text)?;
    if (1..=63).contains(&length) {
        return Err(format!(
            "pieces of {length} bytes are too small; for 2^{length} bytes write {}",
            typed_size(1 << length)
        ));
    }
    match u32::try_from(length) {
        Ok(length) if length.is_power_of_two() && (16 << 10..=512 << 20).contains(&length) => {
            Ok(length)
        }
        Ok(_) | Err(_) => Err(
            "a piece length is a power of two from 16KiB to 512MiB, for example 256KiB or 1MiB"
                .to_owned(),
        ),
    }
}

/// A decimal number times `scale`, exactly; digits past the resolution are cut.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = match whole {
        "" => 0,
        digits => digits.parse::<u64>().ok()?,
    };
    // Nine digits resolve a byte of the largest unit's thousandth and fit every product below.
    let fraction = &fraction[..fraction.len().min(9)];
    let part = match fraction {
        "" => 0,
        digits => {
            let number = u128::from(digits.parse::<u64>().ok()?);
            number * u128::from(scale) / 10_u128.pow(u32::try_from(digits.len()).ok()?)
        }
    };
    whole
        .checked_mul(scale)?
        .checked_add(u64::try_from(part).ok()?)
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes a number of bytes for people: `0 B`, `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    // What would be shown as 1024.0 becomes 1.0 of the next unit.
    while tenths >= 10_235 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Writes how much of something is there, in the unit of the whole: `50.0 of 200.0 MiB`. As wide for any part,
/// and less than the whole as long as something is missing.
pub(crate) fn amount(part: u64, whole: u64) -> String {
    let total = size(whole);
    let (number, unit) = total.split_once(' ').unwrap_or((&total, ""));
    let width = number.len();
    if part >= whole {
        return format!("{number} of {total}");
    }
    let power = UNITS.iter().position(|name| *name == unit).unwrap_or(0);
    let part = match power {
        0 => part.to_string(),
        power => {
            let tenths = (u128::from(part) * 10) >> (10 * power);
            format!("{}.{}", tenths / 10, tenths % 10)
        }
    };
    format!("{part:>width$} of {total}")
}

/// Writes a rate for people: `12.3 MiB/s`.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

/// Writes a size that is a whole number of units without decimals: `256 KiB`.
pub(crate) fn exact_size(bytes: u64) -> String {
    let (number, unit) = exact(bytes);
    format!("{number} {unit}")
}

/// The same as it is typed: `256KiB`.
fn typed_size(bytes: u64) -> String {
    let (number, unit) = exact(bytes);
    format!("{number}{unit}")
}

fn exact(bytes: u64) -> (u64, &'static str) {
    let mut unit = 0;
    let mut rest = bytes;
    while rest >= 1024 && rest.is_multiple_of(1024) && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    (rest, UNITS[unit])
}

/// Writes a duration for people, to the second up to an hour and then coarser: `42s`, `3m 07s`,
/// `2h 05m`, `3d 04h`.
pub(crate) fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        86_400.. => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Writes how long something took: with decimals while it is short.
pub(crate) fn elapsed(duration: Duration) -> String {
    if duration.as_secs() < 60 {
        format!(
            "{}.{:02}s",
            duration.as_secs(),
            duration.subsec_millis() / 10
        )
    } else {
        seconds(duration.as_secs())
    }
}

/// Writes a time that was given: as short as it can be.
pub(crate) fn limit(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => seconds(duration.as_secs()),
        _ => elapsed(duration),
    }
}

/// Bytes a second, over a time that may be zero.
pub(crate) fn average(bytes: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// Whole percent; a hundred only when nothing is missing.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    if part >= whole {
        return 100;
    }
    u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn sizes_are_read_in_both_systems_of_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("2MiB", 2 << 20),
            ("2mib", 2 << 20),
            ("2Mi", 2 << 20),
            ("500k", 500_000),
            ("500kB", 500_000),
            ("1.5M", 1_500_000),
            ("1.5 GiB", 3 << 29),
            (".5k", 500),
            ("1.", 1),
            ("0.1KiB", 102),
            ("16T", 16_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            ".",
            "k",
            "-1",
            "1..2",
            "1.2.3",
            "2 MM",
            "1e6",
            "12x",
            "0x10",
            "1,5M",
            "18446744073709551616",
            "99999999999T",
            "1k5",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_may_say_so_and_are_not_below_a_kibibyte() {
        assert_eq!(parse_rate("2MiB/s"), Ok(2 << 20));
        assert_eq!(parse_rate("500k"), Ok(500_000));
        assert_eq!(parse_rate("1024"), Ok(1024));
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("1023").is_err());
        assert!(parse_rate("1M/m").is_err());
    }

    #[test]
    fn durations_need_a_unit_and_may_be_joined() {
        for (text, secs) in [
            ("90s", 90),
            ("10m", 600),
            ("2h", 7200),
            ("1d", 86_400),
            ("1h30m", 5400),
            ("0s", 0),
            ("1S1000ms1M", 62),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(secs)),
                "{text}"
            );
        }
        for text in [
            "",
            "90",
            "s",
            "1w",
            "-1s",
            "1.5h",
            "1h30",
            "1mm",
            "ms",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[cfg(feature = "simulate")]
    #[test]
    fn percentages_become_millionths() {
        assert_eq!(parse_percent("1%"), Ok(10_000));
        assert_eq!(parse_percent("0.0501 %"), Ok(501));
        assert_eq!(parse_percent("100%"), Ok(1_000_000));
        for text in ["1", "%", "100.0001%", "-1%", "0.5", "1%%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ratios_become_thousandths() {
        assert_eq!(parse_ratio("1"), Ok(1000));
        assert_eq!(parse_ratio("2.5"), Ok(2500));
        assert_eq!(parse_ratio("0"), Ok(0));
        assert!(parse_ratio("-1").is_err());
        assert!(parse_ratio("5000000").is_err());
    }

    #[test]
    fn piece_lengths_are_powers_of_two_within_bounds() {
        assert_eq!(parse_piece_length("256KiB"), Ok(256 << 10));
        assert_eq!(parse_piece_length("16384"), Ok(16 << 10));
        assert_eq!(parse_piece_length("512MiB"), Ok(512 << 20));
        for text in ["0", "8KiB", "1GiB", "300KiB", "1M", "8GiB"] {
            assert!(parse_piece_length(text).is_err(), "{text}");
        }
        // The exponent that other tools take is answered with what it means here.
        assert!(parse_piece_length("18").unwrap_err().contains("256KiB"));
    }

    #[test]
    fn sizes_are_written_with_one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (100 << 20, "100.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn parts_are_written_in_the_unit_of_the_whole() {
        for (part, whole, text) in [
            (0, 0, "0 of 0 B"),
            (7, 100, "  7 of 100 B"),
            (50 << 20, 200 << 20, " 50.0 of 200.0 MiB"),
            ((200 << 20) - 1, 200 << 20, "199.9 of 200.0 MiB"),
            (200 << 20, 200 << 20, "200.0 of 200.0 MiB"),
            (1, 1 << 40, "0.0 of 1.0 TiB"),
        ] {
            assert_eq!(amount(part, whole), text);
        }
    }

    #[test]
    fn all_sizes_have_a_space_before_their_unit() {
        assert_eq!(exact_size(32 << 10), "32 KiB");
        assert_eq!(exact_size(1000), "1000 B");
        assert_eq!(size(39_531_315), "37.7 MiB");
        assert_eq!(typed_size(32 << 10), "32KiB");
    }

    #[test]
    fn durations_are_written_coarser_as_they_grow() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (67, "1m 07s"),
            (3600, "1h 00m"),
            (100_000, "1d 03h"),
        ] {
            assert_eq!(seconds(secs), text);
        }
        assert_eq!(elapsed(Duration::from_millis(1234)), "1.23s");
        assert_eq!(elapsed(Duration::from_secs(61)), "1m 01s");
        assert_eq!(limit(Duration::from_secs(30)), "30s");
        assert_eq!(limit(Duration::from_millis(1500)), "1.50s");
    }

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(999_999, 1_000_000), 99);
        assert_eq!(percent(7, 7), 100);
    }

    quickcheck! {
        fn exact_sizes_read_back(bytes: u64) -> bool {
            let written = [exact_size(bytes), typed_size(bytes)];
            let same = |text: &String| parse_size(text) == Ok(bytes) || bytes >= 1 << 50;
            written.iter().all(same) && written[0].replace(' ', "") == written[1]
        }

        fn parts_are_as_wide_as_the_whole(part: u64, whole: u64) -> bool {
            let all = amount(whole, whole).len();
            // Rounding up the whole may leave it a digit more than the part needs, and never less.
            amount(part.min(whole), whole).len() == all
        }

        fn nothing_typed_panics(text: String) -> bool {
            let _ = (parse_size(&text), parse_rate(&text), parse_duration(&text), parse_ratio(&text));
            true
        }

        fn averages_do_not_overflow(bytes: u64, nanos: u64) -> bool {
            average(bytes, Duration::from_nanos(nanos)) >= bytes / (nanos / 1_000_000_000 + 1)
        }
    }
}
