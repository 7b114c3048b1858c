-- +goose Up
-- How far the object of an upload is kept, where the number of bytes does not say it: see package blobs. The tail is an
-- object with its last bytes. It is in table dead from its beginning, and no garbage as long as an upload names it.
alter table ifmatch.upload add column state bytea;
alter table ifmatch.upload add column tail uuid;

-- Whether parts of an object may be left that was not completed.
alter table ifmatch.dead add column begun boolean not null default false;
