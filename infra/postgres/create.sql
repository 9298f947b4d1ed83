-- psql -v password="'…'" -f create.sql
CREATE ROLE bulkhead LOGIN PASSWORD :password;
CREATE DATABASE bulkhead OWNER bulkhead ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE bulkhead FROM PUBLIC;
