internal import Foundation

/// An executable to run.
struct Program {
  let path: String

  init(_ path: String) {
    self.path = path
  }

  /// The folder of the running program.
  static let folder: String = {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: path).deletingLastPathComponent().path
  }()

  static func beside(_ name: String) -> Program { Program(folder + "/" + name) }

  /// The program of that name in `PATH`.
  static func find(_ name: String) -> Program? {
    let folders = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    return folders.split(separator: ":").map { "\($0)/\(name)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }.map(Program.init)
  }

  /// Runs the program to its end.
  ///
  /// - Parameters:
  ///   - arguments: The arguments, without the program's name.
  ///   - environment: Variables to set in addition to this process's environment.
  /// - Returns: The program's standard output.
  /// - Throws: ``CheckError`` when the program cannot run or fails, with its standard error.
  func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Data {
    let process = makeProcess(arguments)
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    try start(process)
    // Valgrind and these programs write little to standard error, so reading one stream after the
    // other is safe.
    let data = output.fileHandleForReading.readDataToEndOfFile()
    let talk = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw CheckError("\(path) failed: \(String(decoding: talk, as: UTF8.self))")
    }
    return data
  }

  /// Runs the program with this process's standard output and error.
  func runShowingOutput(_ arguments: [String]) throws {
    let process = makeProcess(arguments)
    try start(process)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw CheckError("\(path) failed") }
  }

  private func makeProcess(_ arguments: [String]) -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    return process
  }

  private func start(_ process: Process) throws {
    do {
      try process.run()
    } catch {
      throw CheckError("cannot run \(path): \(error.localizedDescription)")
    }
  }
}

struct CheckError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
