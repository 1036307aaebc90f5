"""He, Zhang and Lee (IoT-J 2020)."""
