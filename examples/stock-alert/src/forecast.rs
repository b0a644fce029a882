//! How fast a product sells, how long it lasts, and what to order. Pure arithmetic in integers: the same history gives
//! the same answer on every device.

use serde::{Deserialize, Serialize};

/// Sales older than this say nothing about tomorrow.
pub(crate) const WINDOW_HOURS: u64 = 72;
/// A product is not judged by its first minutes: one sale in a minute is not sixty an hour.
const LEAST_HOURS: u64 = 6;
/// What one hour weighs against the hour after it: halves every twelve hours.
const HOURLY_DECAY_PER_10_000: u64 = 9_439;
/// Views per hour must reach this many times the usual, in thousandths, to count as a spike.
const SPIKE_FROM_MILLI: u64 = 3_000;
/// Engagement from which on viewers are taken to be buyers, in thousandths of the views.
const ENGAGED_FROM_PERMILLE: u64 = 20;
/// Engagement at which a spike counts in full.
const ENGAGED_FULLY_PERMILLE: u64 = 100;
/// A boost never exceeds this many times the measured sales, in thousandths.
const MAX_BOOST_MILLI: u64 = 5_000;
/// A spike that nobody has reported again is over after this long.
const SPIKE_HOURS: u64 = 6;
/// An order that arrives when the last unit is sold is late: the margin before that.
const SAFETY_HOURS: u64 = 24;

const HOUR_MS: u64 = 3_600_000;

/// Units sold in one hour since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sales {
    pub(crate) hour: u64,
    pub(crate) units: u64,
}

/// How much attention a product gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attention {
    /// A running average from before the latest report.
    pub(crate) usual_views_per_hour: u64,
    pub(crate) views_per_hour: u64,
    /// Of a thousand views, how many led to a like, a share, a comment or a cart.
    pub(crate) engagement_permille: u64,
    pub(crate) at_ms: u64,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Ok,
    /// Order today.
    Warning,
    /// Even an order placed now arrives after the last unit is sold.
    Critical,
    OutOfStock,
}

/// What a shop decides per product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// From order to shelf.
    pub(crate) lead_time_hours: u64,
    /// How long a delivery should last.
    pub(crate) cover_hours: u64,
    /// Suppliers sell by the box.
    pub(crate) pack_size: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { lead_time_hours: 48, cover_hours: 168, pack_size: 1 }
    }
}

/// Units per hour, in thousandths: recent hours weigh more.
///
/// `since_hour` is when the product was first heard of. A product that is on sale for ten hours is not divided by
/// seventy-two.
pub(crate) fn velocity_milli(sales: &[Sales], since_hour: u64, now_hour: u64) -> u64 {
    let hours = now_hour.saturating_sub(since_hour).saturating_add(1).clamp(LEAST_HOURS, WINDOW_HOURS);
    let (mut weight, mut weights, mut units) = (1_000_000_u64, 0_u64, 0_u64);
    for age in 0..hours {
        let sold: u64 =
            sales.iter().filter(|s| now_hour.checked_sub(age) == Some(s.hour)).map(|s| s.units).sum();
        units = units.saturating_add(sold.saturating_mul(weight));
        weights += weight;
        weight = weight * HOURLY_DECAY_PER_10_000 / 10_000;
    }
    units.saturating_mul(1000) / weights.max(1)
}

/// By how much a viral spike multiplies sales, in thousandths: 1000 is no spike.
///
/// Half of what the views exceed the usual by, scaled by how engaged the viewers are, fading over six hours.
pub(crate) fn boost_milli(attention: Option<&Attention>, now_ms: u64) -> u64 {
    let Some(attention) = attention else { return 1000 };
    let age_ms = now_ms.saturating_sub(attention.at_ms);
    let left_ms = (SPIKE_HOURS * HOUR_MS).saturating_sub(age_ms);
    let ratio = attention.views_per_hour.saturating_mul(1000) / attention.usual_views_per_hour.max(1);
    if ratio < SPIKE_FROM_MILLI || attention.engagement_permille < ENGAGED_FROM_PERMILLE {
        return 1000;
    }
    let engaged = attention.engagement_permille.min(ENGAGED_FULLY_PERMILLE);
    let extra = (ratio - 1000).min(1_000_000) / 2 * engaged / ENGAGED_FULLY_PERMILLE;
    let extra = extra.min(MAX_BOOST_MILLI - 1000);
    1000 + extra * (left_ms / 1000) / (SPIKE_HOURS * HOUR_MS / 1000)
}

/// How many minutes the stock lasts. `None` when nothing is being sold.
pub(crate) fn minutes_left(stock: u64, velocity_milli: u64) -> Option<u64> {
    if stock == 0 {
        return Some(0);
    }
    stock.saturating_mul(60_000).checked_div(velocity_milli)
}

/// How bad that is.
pub(crate) fn level(stock: u64, minutes_left: Option<u64>, policy: &Policy) -> Level {
    let lead = policy.lead_time_hours.saturating_mul(60);
    match minutes_left {
        _ if stock == 0 => Level::OutOfStock,
        Some(left) if left <= lead => Level::Critical,
        Some(left) if left <= lead.saturating_add(SAFETY_HOURS * 60) => Level::Warning,
        _ => Level::Ok,
    }
}

/// What to order now, in whole packs: enough for the lead time at today's pace and for the cover at the usual one. A
/// spike is over before the delivery is on the shelf, so it must not fill the shelf.
pub(crate) fn reorder_units(
    stock: u64,
    on_order: u64,
    usual_milli: u64,
    boosted_milli: u64,
    policy: &Policy,
) -> u64 {
    let until_delivery = boosted_milli.saturating_mul(policy.lead_time_hours);
    let after = usual_milli.saturating_mul(policy.cover_hours);
    let needed = until_delivery.saturating_add(after).div_ceil(1000);
    let missing = needed.saturating_sub(stock).saturating_sub(on_order);
    let pack = policy.pack_size.max(1);
    missing.div_ceil(pack).saturating_mul(pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { lead_time_hours: 48, cover_hours: 168, pack_size: 12 };

    fn every_hour(from: u64, to: u64, units: u64) -> Vec<Sales> {
        (from..=to).map(|hour| Sales { hour, units }).collect()
    }

    #[test]
    fn steady_sales_are_their_own_velocity() {
        assert_eq!(velocity_milli(&every_hour(0, 200, 5), 0, 200), 5000);
        assert_eq!(velocity_milli(&every_hour(100, 109, 5), 100, 109), 5000, "a newer product too");
        let first_minutes = velocity_milli(&every_hour(100, 100, 6), 100, 100);
        assert!((1000..1500).contains(&first_minutes), "{first_minutes}");
        assert_eq!(velocity_milli(&[], 0, 200), 0);
    }

    #[test]
    fn recent_hours_weigh_more() {
        let waking = velocity_milli(&every_hour(188, 200, 10), 0, 200);
        let dozing = velocity_milli(&every_hour(140, 152, 10), 0, 200);
        assert!(waking > 10 * dozing, "{waking} {dozing}");
    }

    #[test]
    fn a_spike_needs_views_and_engagement() {
        let attention = |views_per_hour, engagement_permille| Attention {
            usual_views_per_hour: 100,
            views_per_hour,
            engagement_permille,
            at_ms: 0,
        };
        assert_eq!(boost_milli(None, 0), 1000);
        assert_eq!(boost_milli(Some(&attention(299, 500)), 0), 1000, "busy, not viral");
        assert_eq!(boost_milli(Some(&attention(5000, 19)), 0), 1000, "looked at, not liked");
        assert_eq!(boost_milli(Some(&attention(300, 100)), 0), 2000);
        assert_eq!(boost_milli(Some(&attention(300, 50)), 0), 1500);
        assert_eq!(boost_milli(Some(&attention(u64::MAX, 1000)), 0), 5000, "bounded");
        assert_eq!(boost_milli(Some(&attention(300, 100)), 3 * HOUR_MS), 1500, "fades");
        assert_eq!(boost_milli(Some(&attention(300, 100)), 6 * HOUR_MS), 1000, "ends");
    }

    #[test]
    fn levels_follow_the_lead_time() {
        let at = |stock| level(stock, minutes_left(stock, 1000), &POLICY);
        assert_eq!(at(0), Level::OutOfStock);
        assert_eq!(at(1), Level::Critical);
        assert_eq!(at(48), Level::Critical);
        assert_eq!(at(49), Level::Warning);
        assert_eq!(at(72), Level::Warning);
        assert_eq!(at(73), Level::Ok);
        assert_eq!(level(5, minutes_left(5, 0), &POLICY), Level::Ok, "what nobody buys lasts");
    }

    #[test]
    fn reorders_whole_packs_and_counts_what_is_coming() {
        // 48 h and 168 h at one unit an hour: 216, and 100 are there.
        assert_eq!(reorder_units(100, 0, 1000, 1000, &POLICY), 120);
        assert_eq!(reorder_units(100, 60, 1000, 1000, &POLICY), 60);
        assert_eq!(reorder_units(300, 0, 1000, 1000, &POLICY), 0);
        assert_eq!(reorder_units(100, 0, 1000, 3000, &POLICY), 216, "a spike counts for the lead time only");
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let sales = [Sales { hour: 5, units: u64::MAX }];
        assert!(velocity_milli(&sales, 0, 5) > 0);
        assert!(minutes_left(u64::MAX, 1).is_some());
        let policy = Policy { lead_time_hours: u64::MAX, cover_hours: u64::MAX, pack_size: u64::MAX };
        assert_eq!(reorder_units(0, 0, u64::MAX, u64::MAX, &policy), u64::MAX);
        assert_eq!(level(1, Some(u64::MAX), &policy), Level::Critical);
    }
}
