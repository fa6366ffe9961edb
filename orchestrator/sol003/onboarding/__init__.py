"""VNF packages that come by `PUT package_content`: read, checked, and their image catalogued."""
