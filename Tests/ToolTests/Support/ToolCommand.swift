internal import Foundation
internal import NetmapTestSupport

/// An executable to run.
struct Command {
  let path: String

  /// The `netmap` that was built together with the tests, in the same folder.
  static let netmap: Command = {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    let folder = URL(fileURLWithPath: own).deletingLastPathComponent()
    return Command(path: folder.appendingPathComponent("netmap").path)
  }()

  /// The program's environment: the socket of the tests' own daemon, which exits when idle.
  static let environment: [String: String] = {
    let socket = "\(NSTemporaryDirectory())/netmap-tools-\(getpid())/netmapd.sock"
    return ["NETMAP_SOCKET": socket]
  }()

  /// Starts the program.
  func start(_ arguments: String...) throws -> TestProgram {
    try TestProgram([path] + arguments, environment: Self.environment)
  }

  /// Runs the program to its end.
  func run(_ arguments: String...) throws -> TestProgram.Outcome {
    try run(arguments)
  }

  /// Runs the program to its end.
  func run(_ arguments: [String]) throws -> TestProgram.Outcome {
    try TestProgram([path] + arguments, environment: Self.environment, separatesErrors: true).end()
  }
}

/// A folder that is removed with the value.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/netmap-tools-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  func makeFolder(_ name: String) throws {
    try FileManager.default.createDirectory(
      atPath: path + "/" + name, withIntermediateDirectories: true)
  }

  func makeLink(_ name: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(
      atPath: path + "/" + name, withDestinationPath: target)
  }

  /// Puts `netmap` there as an installation does: as a separate file, not as a symbolic link.
  func installNetmap(as name: String) throws -> Command {
    let target = path + "/" + name
    do {
      try FileManager.default.linkItem(atPath: Command.netmap.path, toPath: target)
    } catch {
      try FileManager.default.copyItem(atPath: Command.netmap.path, toPath: target)
    }
    return Command(path: target)
  }
}
