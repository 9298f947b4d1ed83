import { metrics } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import type { MetricFamily } from "./metric-family.ts";
import { createMeters, durationBounds } from "./meters.ts";
import { prometheusName, renderPrometheus } from "./prometheus.ts";

const gauge = (labels: Record<string, string>, value = 1): MetricFamily => ({
  shape: "numbers",
  metric: { name: "a.b", kind: "gauge", unit: "By", labels: Object.keys(labels), meaning: "m" },
  points: [{ labels, value }],
});

describe("names", () => {
  test.each([
    ["http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"],
    ["container.cpu.time", "s", "counter", "container_cpu_time_seconds_total"],
    ["container.memory.usage", "By", "gauge", "container_memory_usage_bytes"],
    ["bulkhead.placements", "{placement}", "counter", "bulkhead_placements_total"],
    ["bulkhead.instance.contract.held", "1", "gauge", "bulkhead_instance_contract_held_ratio"],
    ["bulkhead.instance.pids", "{process}", "gauge", "bulkhead_instance_pids"],
    ["x.total", "1", "counter", "x_total"],
    ["x.bytes", "By", "gauge", "x_bytes"],
  ] as const)("%s in %s is %s", (name, unit, kind, expected) => {
    expect(prometheusName({ name, unit, kind, labels: [], meaning: "" })).toBe(expected);
  });

  test("of the catalogue are all different and valid", () => {
    const names = Object.values(metrics).map(prometheusName);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-zA-Z_][a-zA-Z0-9_]*$/);
  });
});

describe("values", () => {
  test("hostile label values stay inside their quotes, on their line", () => {
    const text = renderPrometheus([gauge({ name: 'a"} 1\nevil{x="\\', other: "\u0000\u001b[2J\ud800é" })]);
    expect(text.split("\n")).toHaveLength(4);
    expect(text).toContain('a_b_bytes{name="a\\"} 1\\nevil{x=\\"\\\\",other="\ufffd\ufffd[2J\ufffdé"} 1\n');
  });

  test("long ones are cut", () => {
    expect(renderPrometheus([gauge({ name: "x".repeat(10_000) })]).length).toBeLessThan(400);
  });

  test.each([
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "+Inf"],
    [Number.NEGATIVE_INFINITY, "-Inf"],
    [1e21, "1e+21"],
    [0, "0"],
  ])("%s is written %s", (value, text) => {
    expect(renderPrometheus([gauge({}, value)])).toContain(`a_b_bytes ${text}\n`);
  });

  test("a family from two sources has one head", () => {
    const text = renderPrometheus([gauge({ x: "1" }), gauge({ x: "2" })]);
    expect(text.match(/# TYPE/g)).toHaveLength(1);
    expect(text.match(/^a_b_bytes\{/gm)).toHaveLength(2);
  });

  test("nothing is nothing", () => {
    expect(renderPrometheus([])).toBe("");
  });
});

describe("recorders", () => {
  test("a counter adds up by its labels, a gauge keeps the last, a histogram counts cumulatively", () => {
    const { meters, collect } = createMeters();
    meters.placements.add(2, { outcome: "placed" });
    meters.placements.add(1, { outcome: "placed" });
    meters.placements.add(1, { outcome: "unplaceable" });
    meters.outboxPending.set(5, {});
    meters.outboxPending.set(3, {});
    for (const seconds of [0.0004, 0.001, 0.3, 99]) meters.placementDuration.record(seconds, { outcome: "placed" });
    const text = renderPrometheus(collect());
    expect(text).toContain('bulkhead_placements_total{outcome="placed"} 3\n');
    expect(text).toContain('bulkhead_placements_total{outcome="unplaceable"} 1\n');
    expect(text).toContain("bulkhead_outbox_pending 3\n");
    expect(text).toContain('bulkhead_placement_duration_seconds_bucket{outcome="placed",le="0.0005"} 1\n');
    expect(text).toContain('bulkhead_placement_duration_seconds_bucket{outcome="placed",le="0.001"} 2\n');
    expect(text).toContain('bulkhead_placement_duration_seconds_bucket{outcome="placed",le="10"} 3\n');
    expect(text).toContain('bulkhead_placement_duration_seconds_bucket{outcome="placed",le="+Inf"} 4\n');
    expect(text).toContain('bulkhead_placement_duration_seconds_count{outcome="placed"} 4\n');
    expect(text.match(/_bucket\{/g)).toHaveLength(durationBounds.length + 1);
  });

  test("a counter does not go back", () => {
    expect(() => createMeters().meters.reportsFolded.add(-1, {})).toThrow(RangeError);
    expect(() => createMeters().meters.reportsFolded.add(Number.NaN, {})).toThrow(RangeError);
  });

  test("label values that do not end cost one series, and nothing is lost", () => {
    const { meters, collect } = createMeters();
    for (let index = 0; index < 5_000; index += 1) meters.placements.add(1, { outcome: `o${index}` });
    const [family] = collect();
    expect(family?.points).toHaveLength(2_001);
    expect(family?.points.at(-1)).toMatchObject({ labels: { "otel.metric.overflow": "true" }, value: 3_000 });
  });

  test("a metric nobody touched is not shown", () => {
    expect(createMeters().collect()).toEqual([]);
  });
});
