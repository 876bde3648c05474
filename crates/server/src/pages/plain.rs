//! Figures in plain words.

/// `93.4 kB`, decimal as disks and networks count.
pub(crate) fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", short(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", short(value / 1e6)),
        _ => format!("{} GB", short(value / 1e9)),
    }
}

/// Three figures at most: `1.23`, `12.3`, `123`.
fn short(value: f64) -> String {
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    let text = format!("{value:.digits$}");
    if digits > 0 { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 picture`, `2 pictures`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `12.5 M`, `78.7 k`.
pub(crate) fn large(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{} k", short(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} M", short(value / 1e6)),
        _ => format!("{} G", short(value / 1e9)),
    }
}

/// `45 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes, rest) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// `93.4%`.
pub(crate) fn percent(share: f64) -> String {
    if share >= 0.99995 { "100%".to_owned() } else { format!("{:.1}%", share * 100.0) }
}

/// `0.32 ms`.
pub(crate) fn milliseconds(ms: f64) -> String {
    format!("{} ms", short(ms))
}

/// `2026-11-24 04:17 UTC` of Unix milliseconds, by Howard Hinnant's civil_from_days.
pub(crate) fn when(unix_ms: i64) -> String {
    let minutes = unix_ms.div_euclid(60_000);
    let (days, minute) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!([bytes(999), bytes(93_440), bytes(1_500_000)], ["999 B", "93.4 kB", "1.5 MB"]);
        assert_eq!([count(7), count(1_000), count(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "picture"), counted(2, "picture")], ["1 picture", "2 pictures"]);
        assert_eq!([large(12_501_632), large(78_666)], ["12.5 M", "78.7 k"]);
        assert_eq!([seconds(45.2), seconds(200.0), seconds(7500.0)], ["45 s", "3 min 20 s", "2 h 5 min"]);
        assert_eq!([percent(0.934), percent(1.0), percent(0.9999)], ["93.4%", "100%", "100.0%"]);
        assert_eq!(milliseconds(0.317), "0.32 ms");
    }

    #[test]
    fn dates_are_right_at_leap_years_and_before_1970() {
        assert_eq!(when(0), "1970-01-01 00:00 UTC");
        assert_eq!(when(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(when(1_795_493_820_000), "2026-11-24 04:17 UTC");
        assert_eq!(when(-60_000), "1969-12-31 23:59 UTC");
    }
}
