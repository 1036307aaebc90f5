"""Everything under ``outputs/``: artifacts, records, sweep logs."""
