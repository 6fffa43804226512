//! RFC 9110, 10.2.3: how long a server wants to be left in peace.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The seconds from now that a `Retry-After` header names; nothing if it is neither a number nor a date, or the date has
/// gone by.
pub(super) fn retry_after(text: &str) -> Option<u32> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    seconds(text.trim(), now.as_secs())
}

fn seconds(text: &str, now: u64) -> Option<u32> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than that is for ever, too.
        return Some(text.parse().unwrap_or(u32::MAX));
    }
    let wait = date(text)?.checked_sub(now).filter(|wait| *wait > 0)?;
    Some(u32::try_from(wait).unwrap_or(u32::MAX))
}

/// The seconds since 1970 of a date as HTTP has them today: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<u64> {
    let (_, text) = text.split_once(", ")?;
    let mut parts = text.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let valid = (1970..=9_999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && parts.next() == Some("GMT");
    valid.then(|| {
        // Years that begin in March have their leap day at their end.
        let (year, month) = if month < 2 {
            (year - 1, month + 10)
        } else {
            (year, month - 2)
        };
        let days = year * 365 + year / 4 - year / 100 + year / 400;
        let days = days + (month * 153 + 2) / 5 + day - 1 - 719_468;
        ((days * 24 + hour) * 60 + minute) * 60 + second
    })
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn numbers_and_dates_are_understood() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999", Some(u32::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994", None),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(seconds(text, 784_111_740), expected, "{text}");
        }
    }

    quickcheck! {
        fn any_text_is_survived(text: String, day: u64, month: usize, year: u64, hour: u64) -> bool {
            let name = MONTHS[month % 12];
            let _ = seconds(&text, 0);
            let _ = seconds(&format!("Mon, {day} {name} {year} {hour}:00:00 GMT"), 0);
            let whole = format!("Mon, {} {name} {} 00:00:00 GMT", day % 40, year % 12_000);
            seconds(&whole, 0).is_none_or(|wait| wait > 0)
        }
    }
}
