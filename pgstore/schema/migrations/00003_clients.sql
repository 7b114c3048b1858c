-- +goose Up
-- Which client has begun an upload, so that one client does not take the room of all: see NewUpload.
alter table ifmatch.upload add column client text not null default '';
