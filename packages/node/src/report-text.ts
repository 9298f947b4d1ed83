import { storable, storableText, type InstanceReport } from "@bulkhead/contracts";

/** Longest detail of a report, in UTF-16 units (contracts/event.ts). */
export const detailMax = 4096;

type Texts = Pick<InstanceReport, "detail" | "resize">;

/**
 * A report as the control plane can keep it. Details quote what users and guests choose; and of one that is refused the
 * agent would never hear an acknowledgement, so that all after it would wait.
 */
export const withSoundText = <Report extends Texts>(report: Report): Report => {
  const { detail, resize } = report;
  const longResize = resize?.detail === undefined ? {} : { detail: storableText(resize.detail, detailMax) };
  return storable({
    ...report,
    detail: detail === null ? null : storableText(detail, detailMax),
    resize: resize === null ? null : { ...resize, ...longResize },
  });
};
