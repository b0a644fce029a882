//! The Super App's shopping cart. Permission `cart.read` for [`get`], `cart.write` for everything else.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bridge::{self, Empty};

/// One line of the cart. Prices are in the currency's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What.
    pub sku: String,
    /// What people call it.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// For one.
    pub unit_price_minor: i64,
}

/// The cart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cart {
    /// Its lines.
    pub items: Vec<Item>,
    /// An ISO 4217 code.
    pub currency: String,
    /// Everything together.
    pub total_minor: i64,
}

/// An order that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// The Super App's name for it.
    pub order_id: String,
    /// Everything together.
    pub total_minor: i64,
    /// An ISO 4217 code.
    pub currency: String,
}

/// What is in the cart.
pub fn get() -> Result<Cart, Error> {
    bridge::request(bridge::cart_read, "cart.get", &Empty {})
}

/// Adds a line, or to a line.
pub fn add(item: &Item) -> Result<Cart, Error> {
    bridge::request(bridge::cart_write, "cart.add", item)
}

/// Sets how many of `sku` there are.
pub fn update(sku: &str, quantity: u32) -> Result<Cart, Error> {
    #[derive(Serialize)]
    struct Update<'a> {
        sku: &'a str,
        quantity: u32,
    }
    bridge::request(bridge::cart_write, "cart.update", &Update { sku, quantity })
}

/// Takes a line out.
pub fn remove(sku: &str) -> Result<Cart, Error> {
    #[derive(Serialize)]
    struct Remove<'a> {
        sku: &'a str,
    }
    bridge::request(bridge::cart_write, "cart.remove", &Remove { sku })
}

/// Places the order.
pub fn checkout() -> Result<Order, Error> {
    bridge::request(bridge::cart_write, "cart.checkout", &Empty {})
}
