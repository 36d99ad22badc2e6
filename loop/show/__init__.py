"""What people see of a log: lines in a terminal, tables in a notebook, a page in a browser."""
