import { ImageName, fleetError } from "@bulkhead/contracts";
import { type ImageReference, type ImportedImage, familiarName } from "@bulkhead/images";
import { withTag } from "@bulkhead/inventory";

const pattern = new RegExp((ImageName as unknown as { pattern: string }).pattern);
const maximumLength = 255;

const isName = (name: string): boolean => name.length <= maximumLength && pattern.test(name);

/** Throws REQUEST_INVALID for a reference by digest alone that comes without a name: nobody would find the image. */
export const pullNames = (reference: ImageReference, given: string | undefined): string[] => {
  const name = given ?? familiarName(reference);
  if (name !== undefined && isName(name)) return [withTag(name)];
  throw fleetError("REQUEST_INVALID", "The reference names no tag that could be the image's name; give it a `name`.", {
    fields: { errors: [{ pointer: "/name", message: "is needed for this reference" }] },
  });
};

/**
 * Names, with tags, that each imported image gets: the one the request gives, else those of the archive. Throws
 * REQUEST_INVALID when one name is given for several images.
 */
export const importNames = (images: readonly ImportedImage[], given: string | undefined): string[][] => {
  if (given === undefined) return images.map(({ names }) => names.filter(isName).map(withTag));
  if (images.length !== 1) {
    const detail = `The archive has ${images.length} images, so \`name\` is not clear; leave it out to use their own names.`;
    throw fleetError("REQUEST_INVALID", detail, {
      fields: { errors: [{ pointer: "/name", message: "is given for more than one image" }] },
    });
  }
  return [[withTag(given)]];
};
