"""The hosted cashier: where a customer chooses how to pay, pays, and sees that it is paid."""
