"""How the admin writes times: like logs and the API, so that they can be compared and searched for."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
