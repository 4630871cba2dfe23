import CTrace
import Glibc

/// A process with one thread that has used no port, from which victims and helpers are forked.
///
/// A fork takes a fraction of the time that starting a program takes. The new process is a child of the tracer, so
/// the tracer can trace it and wait for it.
package final class Nursery {
  private let process: Int32
  private let commands: CInt

  /// What a forked process does: plays a part of a row. It gets the row's number, the part, the path of netmapd's
  /// socket, and the board.
  package typealias Play = (Int, Part, String, TableBoard) -> Never

  /// Forks the nursery. The caller must not have used any engine.
  init(_ socket: String, _ board: TableBoard, _ play: @escaping Play) throws {
    var ends: [CInt] = [0, 0]
    guard unsafe socketpair(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue), 0, &ends) == 0 else {
      throw TableError("socketpair: errno \(errno)")
    }
    process = ctrace_plain_fork()
    guard process >= 0 else { throw TableError("fork: errno \(errno)") }
    if process == 0 {
      close(ends[0])
      Self.serve(play, socket, board, ends[1])
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
  func start(_ part: Part, of row: Int) throws -> Int32 {
    let words = [Int32(row), part.rawValue]
    var answer: Int32 = 0
    guard unsafe send(commands, words, 8, 0) == 8, unsafe recv(commands, &answer, 4, 0) == 4,
      answer > 0
    else { throw TableError("the nursery does not answer: errno \(errno)") }
    return answer
  }

  package enum Part: Int32 {
    case victim, helper
  }

  private static func serve(
    _ play: Play, _ socket: String, _ board: TableBoard, _ commands: CInt
  ) -> Never {
    var words: [Int32] = [0, 0]
    while unsafe recv(commands, &words, 8, 0) == 8 {
      var child = ctrace_fork_sibling()
      if child == 0 {
        close(commands)
        ctrace_die_with_parent()
        play(Int(words[0]), Part(rawValue: words[1]) ?? .victim, socket, board)
      }
      _ = unsafe send(commands, &child, 4, 0)
    }
    _exit(0)
  }
}
