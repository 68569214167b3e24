//! Has the mutants embedded anew when one of them changes, which the macro that embeds them does not notice by itself.

fn main() {
    println!("cargo::rerun-if-changed=fixtures/mutants");
}
