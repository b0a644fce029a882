//! A simulated shopping cart: what `cart.read` and `cart.write` are about.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miniapp_runtime::Bridge;
use miniapp_runtime::rpc::{RpcError, code};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::simulated::{Nothing, money};
use crate::output::Printer;

const CURRENCY: &str = "EUR";
const LARGEST_QUANTITY: i64 = 1000;
const LARGEST_PRICE: i64 = 1_000_000_000;
const MOST_ITEMS: usize = 1000;

/// What is in the cart.
#[derive(Debug, Default)]
pub(super) struct Cart {
    items: Vec<Item>,
    orders: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    sku: String,
    name: String,
    quantity: i64,
    unit_price_minor: i64,
}

#[derive(Debug, Serialize)]
struct Shown {
    items: Vec<Item>,
    currency: &'static str,
    total_minor: i64,
}

#[derive(Deserialize)]
struct Update {
    sku: String,
    quantity: i64,
}

#[derive(Deserialize)]
struct Remove {
    sku: String,
}

impl Cart {
    fn show(&self) -> Shown {
        Shown { items: self.items.clone(), currency: CURRENCY, total_minor: self.total() }
    }

    /// The limits keep this within 64 bits.
    fn total(&self) -> i64 {
        self.items.iter().map(|item| item.quantity * item.unit_price_minor).sum()
    }

    /// Adds to the item that is there, or a new one.
    fn add(&mut self, item: Item) -> Result<Shown, RpcError> {
        check_quantity(item.quantity)?;
        if item.sku.is_empty() {
            return Err(RpcError::invalid_params("`sku` must not be empty."));
        }
        if !(0..=LARGEST_PRICE).contains(&item.unit_price_minor) {
            return Err(RpcError::invalid_params(format!(
                "`unit_price_minor` must be 0 to {LARGEST_PRICE}."
            )));
        }
        let full = self.items.len() >= MOST_ITEMS;
        match self.items.iter_mut().find(|there| there.sku == item.sku) {
            Some(there) => {
                check_quantity(there.quantity + item.quantity)?;
                *there = Item { quantity: there.quantity + item.quantity, ..item };
            }
            None if full => {
                return Err(RpcError::new(
                    code::REFUSED,
                    format!("A cart holds {MOST_ITEMS} items at most."),
                ));
            }
            None => self.items.push(item),
        }
        Ok(self.show())
    }

    fn update(&mut self, update: &Update) -> Result<Shown, RpcError> {
        check_quantity(update.quantity)?;
        let item =
            self.items.iter_mut().find(|item| item.sku == update.sku).ok_or_else(|| missing(&update.sku))?;
        item.quantity = update.quantity;
        Ok(self.show())
    }

    fn remove(&mut self, sku: &str) -> Result<Shown, RpcError> {
        let place = self.items.iter().position(|item| item.sku == sku).ok_or_else(|| missing(sku))?;
        self.items.remove(place);
        Ok(self.show())
    }

    /// Turns the cart into an order and empties it.
    fn checkout(&mut self) -> Result<(String, i64), RpcError> {
        if self.items.is_empty() {
            return Err(RpcError::new(code::REFUSED, "The cart is empty."));
        }
        let total = self.total();
        self.items.clear();
        self.orders += 1;
        Ok((format!("order-{}", self.orders), total))
    }
}

fn check_quantity(quantity: i64) -> Result<(), RpcError> {
    if (1..=LARGEST_QUANTITY).contains(&quantity) {
        return Ok(());
    }
    Err(RpcError::invalid_params(format!("`quantity` must be 1 to {LARGEST_QUANTITY}, not {quantity}.")))
}

fn missing(sku: &str) -> RpcError {
    RpcError::invalid_params(format!("There is no item `{}` in the cart.", sku.escape_debug()))
}

fn lock(cart: &Mutex<Cart>) -> MutexGuard<'_, Cart> {
    cart.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `cart.get`
pub(super) fn read_bridge(cart: Arc<Mutex<Cart>>) -> Bridge {
    Bridge::new("cart.read").immediate("cart.get", move |_, _: Nothing| Ok(lock(&cart).show()))
}

/// `cart.add`, `cart.update`, `cart.remove`, `cart.checkout`
pub(super) fn write_bridge(cart: Arc<Mutex<Cart>>, printer: Printer) -> Bridge {
    let (add, update, remove) = (cart.clone(), cart.clone(), cart.clone());
    Bridge::new("cart.write")
        .immediate("cart.add", move |_, item: Item| lock(&add).add(item))
        .immediate("cart.update", move |_, change: Update| lock(&update).update(&change))
        .immediate("cart.remove", move |_, gone: Remove| lock(&remove).remove(&gone.sku))
        .immediate("cart.checkout", move |_, _: Nothing| {
            let (order, total) = lock(&cart).checkout()?;
            printer.note("order", &format!("{order} for {} {CURRENCY}", money(total)));
            Ok(json!({ "order_id": order, "total_minor": total, "currency": CURRENCY }))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sku: &str, quantity: i64) -> Item {
        Item { sku: sku.into(), name: "Tea".into(), quantity, unit_price_minor: 250 }
    }

    #[test]
    fn a_cart_adds_up() {
        let mut cart = Cart::default();
        cart.add(item("tea", 2)).unwrap();
        assert_eq!(cart.add(item("tea", 1)).unwrap().total_minor, 750);
        assert_eq!(cart.update(&Update { sku: "tea".into(), quantity: 4 }).unwrap().total_minor, 1000);
        assert_eq!(cart.checkout().unwrap(), ("order-1".to_owned(), 1000));
        assert!(cart.checkout().is_err(), "an order takes what was in it");
    }

    #[test]
    fn nonsense_changes_nothing() {
        let mut cart = Cart::default();
        for quantity in [0, -1, i64::MIN, i64::MAX, 1001] {
            assert!(cart.add(item("tea", quantity)).is_err(), "{quantity}");
        }
        assert!(cart.add(Item { unit_price_minor: -1, ..item("tea", 1) }).is_err());
        assert!(cart.add(item("", 1)).is_err());
        assert!(cart.remove("tea").is_err());
        assert!(cart.show().items.is_empty());
    }
}
