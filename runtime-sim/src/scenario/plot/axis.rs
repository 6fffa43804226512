//! Round numbers for axes, and how numbers are written.

use std::time::Duration;

/// Where an axis has lines, from 0 on, and where values lie between its ends.
#[derive(Clone, Debug)]
pub(super) struct Ticks {
    values: Vec<f64>,
    /// The largest value that the axis shows.
    most: f64,
    logarithmic: bool,
}

impl Ticks {
    /// Steps of 1, 2 or 5 times a power of ten, `count` of them at most.
    pub(super) fn of(most: f64, count: u32) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let rough = most / f64::from(count) * 0.999;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough);
        Self::every(step.unwrap_or(10.0 * power), most)
    }

    /// Steps that times are told in, ten of them at most, within so many seconds.
    pub(super) fn of_time(span: f64) -> Self {
        const STEPS: [f64; 22] = [
            0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0,
            300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0,
        ];
        let rough = span / 10.0;
        let days = (rough / 86_400.0).ceil() * 86_400.0;
        let step = STEPS.into_iter().find(|step| *step >= rough);
        Self::every(step.unwrap_or(days), span)
    }

    /// Steps for small and large numbers alike: as far from 1 to 3 as from 10 to 20 and more.
    pub(super) fn of_orders(most: f64) -> Self {
        let most = most.max(1.0);
        let factors: &[f64] = if most > 300.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let powers = (0..12).map(|power| 10_f64.powi(power));
        let values = powers.flat_map(|power| factors.iter().map(move |factor| factor * power));
        let values = std::iter::once(0.0).chain(values);
        Self {
            values: values.take_while(|value| *value <= most).collect(),
            most,
            logarithmic: true,
        }
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = match self.logarithmic {
            true => value.max(0.0).ln_1p() / self.most.ln_1p(),
            false => value / self.most,
        };
        share.clamp(0.0, 1.0)
    }

    fn every(step: f64, most: f64) -> Self {
        // Both kinds make a dozen at most; the bound is for numbers that are none.
        let values = (0..64_u32).map(|index| f64::from(index) * step);
        let values = values.take_while(|value| *value <= most * 1.000_001);
        Self {
            // What binary fractions leave behind must not be seen.
            values: values.map(|value| (value * 1e9).round() / 1e9).collect(),
            most,
            logarithmic: false,
        }
    }
}

/// The unit for so many bytes, and how many bytes it has.
pub(super) fn bytes(most: f64) -> (&'static str, f64) {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scale = 1.0;
    for unit in UNITS {
        if most < scale * 1_024.0 || unit == "TiB" {
            return (unit, scale);
        }
        scale *= 1_024.0;
    }
    ("B", 1.0)
}

/// So many bytes, short and without deceiving: `32 MiB`, `1.5 GiB`, `0.95 MiB`.
pub(super) fn exact(count: u64) -> String {
    let (unit, scale) = bytes(count as f64);
    let number = format!("{:.2}", count as f64 / scale);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number} {unit}")
}

/// A share in a million, with a digit after the point, or two when it is small.
pub(super) fn percent(ppm: u64) -> String {
    let value = ppm as f64 / 10_000.0;
    let text = if ppm < 10_000 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// A time: `350 ms`, `7.5 s`, `42 s`, `1m30`, `2h05`.
pub(super) fn time_label(time: Duration) -> String {
    let millis = (time.as_secs_f64() * 1_000.0).round() as u64;
    match millis {
        0 => String::from("0"),
        1..1_000 => format!("{millis} ms"),
        1_000..60_000 => {
            let tenths = (millis + 50) / 100;
            match tenths % 10 {
                0 => format!("{} s", tenths / 10),
                tenth => format!("{}.{tenth} s", tenths / 10),
            }
        }
        _ => {
            let seconds = (millis + 500) / 1_000;
            let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            match (hours, minutes, rest) {
                (0, minutes, 0) => format!("{minutes} min"),
                (0, minutes, rest) => format!("{minutes}m{rest:02}s"),
                (hours, 0, _) => format!("{hours} h"),
                (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn values(ticks: &Ticks) -> Vec<f64> {
        ticks.values().to_vec()
    }

    #[test]
    fn ticks_are_round() {
        let hundred = Ticks::of(100.0, 5);
        assert_eq!(values(&hundred), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(values(&Ticks::of(0.31, 4)), [0.0, 0.1, 0.2, 0.3]);
        assert_eq!(values(&Ticks::of(101.0, 4)), [0.0, 50.0, 100.0]);
        assert_eq!(values(&Ticks::of(0.0, 4)).first(), Some(&0.0));
        assert_eq!(
            values(&Ticks::of_time(3.1)),
            [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
        );
        let orders = Ticks::of_orders(101.0);
        assert_eq!(
            values(&orders),
            [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
        assert_eq!(
            [0.0, 101.0, 1e9].map(|value| orders.place(value)),
            [0.0, 1.0, 1.0]
        );
        assert_eq!(hundred.place(25.0), 0.25);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(exact(32 << 20), "32 MiB");
        assert_eq!(exact(1_000_000), "976.56 KiB");
        assert_eq!(exact(3 << 29), "1.5 GiB");
        assert_eq!(percent(5_700), "0.57 %");
        assert_eq!(percent(721_000), "72.1 %");
        assert_eq!(percent(10_000), "1 %");
        let label = |millis| time_label(Duration::from_millis(millis));
        assert_eq!(
            [0, 350, 7_500, 42_000].map(label),
            ["0", "350 ms", "7.5 s", "42 s"]
        );
        assert_eq!(
            [60_000, 90_000, 7_500_000].map(label),
            ["1 min", "1m30s", "2h05m"]
        );
    }

    quickcheck! {
        fn an_axis_has_a_few_ticks_whatever_it_shows(most: u32, shift: u8) -> bool {
            let most = f64::from(most) * 2_f64.powi(i32::from(shift % 40) - 20);
            let count = Ticks::of(most, 4).values().len();
            let times = Ticks::of_time(most + 0.001).values().len();
            (2..=6).contains(&count) && (1..=11).contains(&times)
                && (2..=13).contains(&Ticks::of_orders(most).values().len())
        }
    }
}
