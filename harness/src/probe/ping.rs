//! ICMP echo.
