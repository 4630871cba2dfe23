import CLinux
import Glibc
import NetmapClient
import NetmapCore

/// Messages with files that netmapd cannot close: in place of sockets for answers, of mailboxes and of network
/// namespaces, beside them, and in queues that nobody reads.
package enum HangingClose {
  /// Sends some messages, and waits until it is killed.
  package static func run(_ place: StormPlace, _ board: StormBoard, seed: UInt64) -> Never {
    var kept: [CInt] = []
    for step in 0..<UInt64(24) {
      var random = StormRandom(seed: seed, .max - 1, step)
      let file = socket(
        AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
      kept.append(file)
      guard StormSocket.connect(file, place.socket) == 0 else {
        board.add(place.slot, .refusals)
        usleep(100_000)
        continue
      }
      board.add(place.slot, .connections)
      let hanging = (0..<(1 + random.below(3))).map { _ in
        open(place.hangingFile, O_RDWR | O_CLOEXEC)
      }.filter { $0 >= 0 }
      var pair: [CInt] = [-1, -1]
      socketpair(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &pair)
      var messages = StormMessages(place)
      messages.tags = [board[place.slot, .tag]]
      let bytes = messages.bytes(of: random.pick([1, 16, 25, 35]), &random)
      var files = hanging
      switch random.below(4) {
      case 0: files = [pair[1]] + hanging
      case 1:
        // In the queue of the socket for the answer.
        let word: [UInt8] = [1]
        _ = clinux_send(pair[0], word, 1, hanging, hanging.count, CInt(MSG_DONTWAIT))
        files = [pair[1]]
      case 2:
        // A first message that ends the connection, so that the second one stays unread.
        _ = clinux_send(file, bytes, 3, [], 0, CInt(MSG_DONTWAIT))
      default: break
      }
      if clinux_send(file, bytes, bytes.count, files, files.count, CInt(MSG_DONTWAIT)) >= 0 {
        board.add(place.slot, .messages)
        board.add(place.slot, .descriptors, files.count)
        board.add(place.slot, .hangs, hanging.count)
      }
      for file in hanging + pair { close(file) }
      usleep(UInt32(random.below(60_000)))
    }
    while true { pause() }
  }
}
