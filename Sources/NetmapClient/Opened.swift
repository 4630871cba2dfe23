package import NetmapCore
internal import NetmapLinux

/// A port that the daemon has opened for this process.
package struct Opened {
  package let registration: Registration
  package let token: Token
  /// How to make the rings of an interface; nil for other ports.
  let attachment: InterfaceAttachment?
  /// The descriptors that the attachment names.
  let files: [OwnedFile]

  /// Makes the data path of the binding.
  ///
  /// - Parameter connection: The connection on which the port was opened.
  /// - Returns: The data path. Its memory stays valid for as long as the object lives.
  /// - Throws: ``NetmapError`` when a ring cannot be mapped.
  package func attach(_ connection: DaemonConnection) throws(NetmapError) -> AttachedPort {
    guard let attachment else {
      let result = unsafe try connection.attach(registration)
      if registration.backend?.name == BackendDescription.isolated {
        result.carrier = try token.open().descriptor
      }
      return result
    }
    let halves = LinuxDataHalves(attachment.memory, subject: registration.name.rawValue)
    let result = unsafe try connection.attach(registration) { (place, _) throws(NetmapError) in
      guard place < attachment.rings.count else {
        throw NetmapError(
          .invalidArgument, "attach", registration.name.rawValue,
          reason: "one of its rings has not been described", remedy: "open the port again")
      }
      return unsafe try halves.dataHalf(of: attachment.rings[place])
    }
    withExtendedLifetime(files) {}
    return result
  }
}
