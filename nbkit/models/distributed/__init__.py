"""Training on several devices: how processes are started, and how weights are split over them."""
