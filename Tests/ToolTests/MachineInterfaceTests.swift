internal import Foundation
internal import NetmapTestSupport
internal import Testing

/// Measurements of an interface that the command has not created.
@Suite("netmap bench --interface", .serialized)
struct MachineInterfaceTests {
  static let zeroCopyCases = ["xdp-zerocopy-tx", "xdp-zerocopy-rx"]

  private static func bench(_ name: String, _ interface: String, _ more: String...) -> [String] {
    ["bench", "--case", name, "--interface", interface] + more
  }

  /// - Returns: The only object that the command printed; nil, with a message, without the rights to measure.
  private func object(_ outcome: TestProgram.Outcome) throws -> [String: Any]? {
    let lines = outcome.output.split(separator: "\n")
    try #require(lines.count == 1, "\(outcome.output)\(outcome.errors)")
    let object = try JSONSerialization.jsonObject(with: Data(lines[0].utf8))
    let result = try #require(object as? [String: Any])
    if result["measured"] as? Bool == false {
      try Requirement.skip("\(result["reason"] ?? "")")
      return nil
    }
    try #require(outcome.status == 0, "\(outcome.errors)")
    return result
  }

  @Test("measures sending", arguments: ["xdp-copy-tx", "packet-tx"])
  func sending(name: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair("to-peer", "peer")
      let outcome = try Command.netmap.run(
        Self.bench(
          name, pair.first, "--json", "--frame-bytes", "60", "--seconds", "0.3"))
      #expect(outcome.errors.contains("the host may not receive the packets of to-peer"))
      #expect(outcome.errors.contains("sends UDP packets"))
      guard let result = try object(outcome) else { return }
      #expect(result["interface"] as? String == "to-peer")
      #expect(result["frameBytes"] as? Int == 60)
      #expect(try #require(result["packets"] as? Int) > 0)
    }
  }

  @Test("measures what another host sends", arguments: ["xdp-copy-rx", "packet-rx"])
  func receiving(name: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair("m0", "m1")
      let sender = try TestProgram(
        [Command.netmap.path]
          + Self.bench("packet-tx", pair.second, "--frame-bytes", "200", "--seconds", "60"))
      sender.drain()
      defer { sender.kill(SIGKILL) }
      let outcome = try measureUntilPacketsArrive(
        Self.bench(name, pair.first, "--json"))
      #expect(!outcome.errors.contains("sends UDP packets"))
      guard let result = try object(outcome) else { return }
      #expect(result["interface"] as? String == "m0")
      #expect(result["frameBytes"] as? Int == 0)
      #expect(result["meanFrameBytes"] as? Double == 200)
      #expect(result["offeredMpps"] == nil)
      #expect(try #require(result["packets"] as? Int) > 0)
    }
  }

  /// Repeats a measurement with more time if no packet arrived: the sender may not have started.
  private func measureUntilPacketsArrive(
    _ arguments: [String]
  ) throws -> TestProgram.Outcome {
    var outcome = try Command.netmap.run(arguments + ["--seconds", "0.5"])
    for _ in 0..<5 where outcome.status != 0 && outcome.errors.contains("no packet arrived") {
      outcome = try Command.netmap.run(arguments + ["--seconds", "2"])
    }
    return outcome
  }

  @Test("without packets, receiving fails and asks for a sender")
  func withoutSender() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("m0", "m1")
      let outcome = try Command.netmap.run(
        Self.bench("packet-rx", pair.first, "--seconds", "0.1"))
      #expect(outcome.status == 1)
      #expect(
        outcome.errors.contains("no packet arrived on m0, ring 0: start a sender")
          || outcome.output.contains("not measured: "))
    }
  }

  @Test("refuses an interface with a default route, unless forced")
  func defaultRoute() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("m0", "m1")
      try NetworkNamespace.run("ip", "route", "add", "default", "dev", pair.first)
      let arguments = Self.bench(
        "packet-tx", pair.first, "--frame-bytes", "60", "--seconds", "0.2")
      let refused = try Command.netmap.run(arguments)
      #expect(refused.status == 64)
      #expect(refused.output == "")
      #expect(refused.errors.contains("--interface m0 has a default route"))
      #expect(refused.errors.contains("--force"))
      let forced = try Command.netmap.run(arguments + ["--force"])
      #expect(forced.status == 0 || forced.output.contains("not measured: "), "\(forced.errors)")
    }
  }
}
