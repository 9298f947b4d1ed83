/** The engine whose machines this run of the tests is about: another is asked for in lab hosts. */
export const testedEngine = process.env["BULKHEAD_TEST_ENGINE"] === "kvm" ? "kvm" : "qemu";
