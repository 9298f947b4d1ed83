/**
 * Built images by what they are made of; root's own, because building needs root and a directory in /tmp could have
 * been put there by somebody else. May be deleted at any time (FHS: /var/cache).
 */
export const imageCache = "/var/cache/bulkhead/images";
