internal import Glibc
internal import NetmapCore
internal import Synchronization

/// The socket on which the daemon tells a process how to reach others: their doorbells, and the
/// memory of the ports on the switches that the process has ports on.
///
/// No thread waits for mail. A sync fetches it when it meets a doorbell number or a port that the
/// process does not know. The daemon posts a doorbell before any process can meet its number.
final class Mailbox: Sendable {
  let socket: MessageSocket
  let switches = SwitchTables()
  private let fetching = Mutex<Void>(())
  /// Set once, before any thread can ring a doorbell.
  private let table = Mutex<DoorbellTable?>(nil)
  private let missing = Mutex(MissingPorts())

  init(_ socket: MessageSocket) {
    self.socket = socket
    ForkedDescriptors.add(socket.descriptor)
  }

  deinit { ForkedDescriptors.remove(socket.descriptor) }

  /// Whether the socket is still open, and not another file of the program's.
  var isIntact: Bool { socket.isIntact }

  /// - Parameter doorbells: The table that receives the doorbells; it outlives the last use of the
  ///   mailbox.
  func deliver(to doorbells: DoorbellTable) {
    table.withLock { $0 = doorbells }
  }

  /// Reads and installs what the daemon has posted, up to a limit, without blocking.
  ///
  /// - Parameter limit: The most messages to read.
  /// - Returns: `goesOn` when there may be more messages, `hasEnded` when the daemon has gone,
  ///   otherwise `isRead`.
  @discardableResult
  func fetch(limit: Int = .max) -> Worker.Mail.State {
    fetching.withLock { _ in
      guard let table = table.withLock({ $0 }) else { return .isRead }
      // Another file of the program may have the number.
      guard isIntact else { return .hasEnded }
      // Any error but EMSGSIZE means that the daemon has gone: no new process or port can appear
      // then. A message that cannot be received whole is lost, but the messages behind it are not.
      for _ in 0..<limit {
        let mail: MessageSocket.Datagram?
        do throws(NetmapError) {
          mail = try socket.receive(waits: false)
        } catch {
          if error.code.rawValue == EMSGSIZE { continue }
          return .hasEnded
        }
        guard let mail else { return .isRead }
        guard !mail.bytes.isEmpty else { return .hasEnded }
        guard var message = try? Message(mail.bytes) else { continue }
        if message.kind == .neighbour {
          take(message, mail)
          continue
        }
        guard message.kind == .doorbell, let number = try? message.body.take(UInt32.self),
          let isOwnEnd = try? message.body.take(UInt8.self)
        else { continue }
        if isOwnEnd != 0 {
          table.installOwnEnd(as: number)
        } else if let descriptor = try? mail.files.first?.duplicate() {
          table.install(descriptor, as: number)
        }
      }
      return .goesOn
    }
  }

  private func take(_ message: Message, _ mail: MessageSocket.Datagram) {
    let port = SwitchTables.Port(message)
    do throws(NetmapError) {
      try mail.checkFiles()
      try switches.take(message, mail.files)
      missing.withLock { $0.remove(port) }
    } catch {
      // Syncs drop packets for the port, count the drops, and ask for the port again.
      missing.withLock { $0.add(port) }
    }
  }

  /// Reads what the daemon has posted, for a sync that has met a port that is not mapped.
  ///
  /// Asks the daemon for ports whose memory could not be received or mapped before. Does not block.
  private func fetchPorts() {
    fetch()
    guard let ports = missing.withLock({ $0.take(at: monotonicNanoseconds()) }), isIntact else {
      return
    }
    for port in ports {
      do throws(NetmapError) {
        try socket.send(
          Message.bytes(.again) {
            $0.put(port.serial)
            $0.put(UInt8(port.index))
          }, waits: false)
      } catch {
        // The daemon has gone, or has not read the mailbox for a long time.
        missing.withLock { $0.add(port) }
      }
    }
  }

  /// The mail for a worker of this process.
  ///
  /// The worker reads it between its turns, so that ports that have left a switch are unmapped
  /// soon.
  var mail: Worker.Mail {
    Worker.Mail(descriptor: socket.descriptor) { [self] in
      let state = fetch(limit: Self.turnLimit)
      let keeps = switches.sweep()
      return state == .isRead && keeps ? .goesOn : state
    }
  }

  /// The most messages that a worker reads per turn: each may map or unmap a port.
  private static let turnLimit = 32

  /// Has the daemon ring a doorbell that this process does not have.
  ///
  /// Does not block.
  ///
  /// Either the mail with the doorbell was lost, because no descriptor was free to receive it with,
  /// or it still waits in the daemon for room in the mailbox.
  func ring(_ number: UInt32) {
    guard isIntact else { return }
    // An error means that the daemon has gone or has not read the mailbox for a long time.
    try? socket.send(Message.bytes(.ring) { $0.put(number) }, waits: false)
  }

  /// The functions by which the doorbell table asks for doorbells.
  ///
  /// The mailbox must outlive every port that uses the table.
  var resolver: DoorbellTable.Resolver {
    unsafe DoorbellTable.Resolver(context: Unmanaged.passUnretained(self).toOpaque()) { context in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().fetch()
    } ring: { context, number in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().ring(number)
    }
  }

  /// The function by which a sync asks for the memory of a port that is not mapped.
  ///
  /// The mailbox must outlive every port.
  var destinationResolver: DestinationResolver {
    unsafe DestinationResolver(context: Unmanaged.passUnretained(self).toOpaque()) { context in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().fetchPorts()
    }
  }
}
