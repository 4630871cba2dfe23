import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// The testbed: a daemon, ports on its switches, and vale-ctl to select their modules.
struct ModuleTestbed {
  let fixture: DaemonFixture
  static let portGuard = TestProgram.built("libport-guard.so")
  static let faultModule = TestProgram.built("libfault-module.so")

  init(_ options: [String] = []) throws {
    fixture = try DaemonFixture(starts: false)
    try fixture.start(options)
  }

  /// Opens a port on a new engine, as another process would.
  func port(_ name: String) throws -> NetmapPort { try NetmapPort(name, engine: fixture.engine()) }

  /// Runs vale-ctl.
  ///
  /// - Parameters:
  ///   - arguments: Its command line.
  ///   - wrapper: The command that runs vale-ctl.
  /// - Returns: The exit status, and the standard output and error.
  /// - Throws: ``ProgramError`` when vale-ctl cannot be started.
  func valeCtl(_ arguments: String..., by wrapper: [String] = []) throws -> (CInt, String) {
    let outcome = try TestProgram(
      wrapper + [TestProgram.built("vale-ctl")] + arguments,
      environment: ["NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd")]
    ).end()
    return (outcome.status, outcome.output)
  }

  func report(_ name: String = "vale0") throws -> SwitchModuleReport {
    try fixture.engine().switches.module(of: name)
  }

  /// Selects the fault module.
  func load(
    _ fault: String, fallback: SwitchModuleChoice.Fallback = .learning, of name: String = "vale0"
  ) throws {
    try fixture.engine().switches.setModule(
      .loaded(path: Self.faultModule, configuration: fault, fallback: fallback), of: name)
  }

  /// Waits until the module's report meets a condition.
  func report(
    within seconds: Double = 10, until condition: (SwitchModuleReport) -> Bool
  ) throws -> SwitchModuleReport {
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
      let report = try report()
      if condition(report) || ContinuousClock.now > end { return report }
      usleep(5000)
    }
  }
}

/// Numbered frames between stations.
enum NumberedFrame {
  static func bytes(_ number: Int, from source: UInt8 = 1, to target: UInt8 = 0xff) -> [UInt8] {
    let number = (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    return [target == 0xff ? 0xff : 2, 0xff, 0xff, 0xff, 0xff, target]
      + [2, 0xff, 0xff, 0xff, 0xff, source, 0x88, 0xb5] + number
      + [UInt8](repeating: 0, count: 42)
  }
}

extension NetmapPort {
  func send(_ frames: [UInt8]...) throws {
    for frame in frames { try inject(frame) }
    try sync(.transmit)
  }

  /// The numbers of up to `count` frames that arrive in time.
  func numbers(_ count: Int, within seconds: Double = 5) throws -> [Int] {
    var result: [Int] = []
    let end = ContinuousClock.now + .seconds(seconds)
    while result.count < count, ContinuousClock.now < end {
      try wait(for: .receive, timeout: .milliseconds(20))
      result += try takeNumbers()
    }
    return result
  }

  /// The numbers of all frames that have arrived.
  func takeNumbers() throws -> [Int] {
    try sync(.receive)
    var result: [Int] = []
    var ring = receiveRing(0)
    while let packet = ring.next() {
      guard packet.bytes.byteCount >= 18 else { continue }
      result.append((0..<4).reduce(0) { $0 | Int(packet.bytes[14 + $1]) << (8 * $1) })
    }
    return result
  }
}
