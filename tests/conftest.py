"""What all tests share."""

pytest_plugins = ["qiao.testing.postgres"]
