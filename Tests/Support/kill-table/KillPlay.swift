import CTrace
import Glibc
import Netmap
import TableSupport

/// What the processes of the kill table do.
enum KillPlay {
  static func play(_ rows: [any KillRow]) -> Nursery.Play {
    { row, part, socket, board in
      do {
        let engine = try HostEngine(socket: socket)
        switch part {
        case .victim:
          let operation = try rows[row].victim(engine)
          guard ctrace_me() == 0 else { throw TableError("ptrace: errno \(errno)") }
          raise(SIGSTOP)
          try operation()
          raise(SIGSTOP)
        case .helper:
          guard let row = rows[row] as? any KillRowWithHelper else { throw TableError("no helper") }
          try row.helper(engine, board)
        }
      } catch {
        board.text = "\(error)"
        _exit(1)
      }
      while true { pause() }
    }
  }
}

extension TableTestbed {
  func start(_ row: any KillRow) throws -> Victim {
    try Victim(
      awaiting: try (row as? ProgramRow).map { try $0.start(self) } ?? startVictim(), board)
  }
}
