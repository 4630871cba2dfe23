import CTrace
import Glibc
import Netmap
import TableSupport

/// A row whose victim is a C program with the C library preloaded. The other processes are those of another row.
struct ProgramRow: KillRow {
  let name: String
  let port: String
  let operation: String
  let row: any KillRow
  var unit = StepUnit.instructions
  var spacing = 1

  var modes: [KillMode] { row.modes }

  static let all = [
    ProgramRow(
      name: "C: NIOCTXSYNC, pipe", port: "killed{1", operation: "txsync", row: PipeSendRow()),
    ProgramRow(
      name: "C: NIOCRXSYNC, pipe", port: "killed}1", operation: "rxsync", row: PipeReceiveRow()),
    ProgramRow(name: "C: poll, pipe", port: "killed{1", operation: "poll", row: PipeSendRow()),
    ProgramRow(
      name: "C: NIOCTXSYNC, vale", port: "vale7:killed", operation: "txsync",
      row: SwitchSendRow(name: "", packets: [[nil, nil, nil]], unread: 5)),
    ProgramRow(
      name: "C: poll, vale", port: "vale7:killed", operation: "poll",
      row: SwitchSendRow(name: "", packets: [[nil, nil, nil]], unread: 5)),
    ProgramRow(
      name: "C: open to close, pipe", port: "killed{1", operation: "open",
      row: OpenRow(name: "", port: "netmap:killed{1"), unit: .calls),
    ProgramRow(
      name: "C: open to close, vale", port: "vale7:killed", operation: "open",
      row: OpenRow(name: "", port: "vale7:killed"), unit: .calls),
    ProgramRow(
      name: "C: open to close, own memory", port: "vale7:killed", operation: "open-memory",
      row: OpenRow(name: "", port: "vale7:killed"), unit: .calls),
    ProgramRow(
      name: "C: NETMAP_REQ_CSB_ENABLE", port: "killed{1", operation: "csb",
      row: OpenRow(name: "", port: "netmap:killed{1"), spacing: 61),
    ProgramRow(
      name: "C: SYNC_KLOOP_STOP and START", port: "killed{1", operation: "loop",
      row: OpenRow(name: "", port: "netmap:killed{1"), spacing: 61),
    ProgramRow(
      name: "C: close, pipe", port: "killed{1", operation: "close",
      row: OpenRow(name: "", port: "netmap:killed{1"), unit: .calls),
  ]

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    throw TableError("\(name) runs a program")
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try row.scene(testbed) }

  /// The program and its arguments.
  ///
  /// - Parameter folder: The folder of the build.
  /// - Returns: The command line.
  func command(in folder: String) -> [String] { ["\(folder)/kill-client", port, operation] }

  /// Starts the program with the C library of the same build.
  func start(_ testbed: TableTestbed) throws -> pid_t {
    let folder = testbed.program.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/")
    let variables = [
      "NETMAP_SOCKET=\(testbed.socket)", "LD_BIND_NOW=1", "LD_PRELOAD=\(folder)/libnetmap-c.so",
      "NETMAP_HALF=\(folder)/libnetmap-half.so", "SWIFT_DETERMINISTIC_HASHING=1",
    ]
    let child = ctrace_plain_fork()
    guard child == 0 else { return child }
    var words: [UnsafeMutablePointer<CChar>?] =
      unsafe command(in: folder).map { unsafe strdup($0) } + [nil]
    var environment: [UnsafeMutablePointer<CChar>?] =
      unsafe variables.map { unsafe strdup($0) } + [nil]
    if let program = unsafe words[0] { _ = unsafe execve(program, &words, &environment) }
    _exit(127)
  }
}
