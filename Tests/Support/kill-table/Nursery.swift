import CTrace
import Glibc
import Netmap

/// A process with one thread that has used no port, from which victims and helpers are forked.
///
/// A fork takes a fraction of the time that starting a program takes. The new process is a child of the tracer, so
/// the tracer can trace it and wait for it.
final class Nursery {
  private let process: pid_t
  private let commands: CInt

  /// Forks the nursery. The caller must not have used any engine.
  init(_ rows: [any KillRow], _ socket: String, _ board: TableBoard) throws {
    var ends: [CInt] = [0, 0]
    guard unsafe socketpair(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue), 0, &ends) == 0 else {
      throw TableError("socketpair: errno \(errno)")
    }
    process = ctrace_plain_fork()
    guard process >= 0 else { throw TableError("fork: errno \(errno)") }
    if process == 0 {
      close(ends[0])
      Self.serve(rows, socket, board, ends[1])
    }
    close(ends[1])
    commands = ends[0]
  }

  deinit {
    close(commands)
    var status: CInt = 0
    _ = unsafe waitpid(process, &status, 0)
  }

  /// Forks a process that plays a part of a row.
  ///
  /// - Returns: Its number.
  func start(_ part: Part, of row: Int) throws -> pid_t {
    let words = [Int32(row), part.rawValue]
    var answer: pid_t = 0
    guard unsafe send(commands, words, 8, 0) == 8, unsafe recv(commands, &answer, 4, 0) == 4,
      answer > 0
    else { throw TableError("the nursery does not answer: errno \(errno)") }
    return answer
  }

  enum Part: Int32 {
    case victim, helper
  }

  private static func serve(
    _ rows: [any KillRow], _ socket: String, _ board: TableBoard, _ commands: CInt
  ) -> Never {
    var words: [Int32] = [0, 0]
    while unsafe recv(commands, &words, 8, 0) == 8 {
      var child = ctrace_fork_sibling()
      if child == 0 {
        close(commands)
        play(rows[Int(words[0])], Part(rawValue: words[1]) ?? .victim, socket, board)
      }
      _ = unsafe send(commands, &child, 4, 0)
    }
    _exit(0)
  }

  private static func play(
    _ row: any KillRow, _ part: Part, _ socket: String, _ board: TableBoard
  ) -> Never {
    ctrace_die_with_parent()
    do {
      let engine = try HostEngine(socket: socket)
      switch part {
      case .victim:
        let operation = try row.victim(engine)
        guard ctrace_me() == 0 else { throw TableError("ptrace: errno \(errno)") }
        raise(SIGSTOP)
        try operation()
        raise(SIGSTOP)
      case .helper:
        guard let row = row as? any KillRowWithHelper else { throw TableError("no helper") }
        try row.helper(engine, board)
      }
    } catch {
      board.text = "\(error)"
      _exit(1)
    }
    while true { pause() }
  }
}

/// A row for which another process sleeps, or does something else on its own.
protocol KillRowWithHelper: KillRow {
  /// Runs in the helper, until the tracer kills it.
  func helper(_ engine: HostEngine, _ board: TableBoard) throws
}
