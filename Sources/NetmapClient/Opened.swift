package import NetmapCore
internal import NetmapLinux

/// A port that the daemon has opened for this process.
package struct Opened {
  package let registration: Registration
  package let token: Token
  /// How to make the rings of an interface; nil for other ports.
  let recipe: InterfaceRecipe?
  /// The descriptors that the attachment names.
  let files: [OwnedFile]

  /// Makes the data path of the binding.
  ///
  /// - Parameter connection: The connection on which the port was opened.
  /// - Returns: The data path. Its memory stays valid for as long as the object lives.
  /// - Throws: ``NetmapError`` when a ring cannot be mapped.
  package func mapPort(_ connection: DaemonConnection) throws(NetmapError) -> MappedPort {
    guard let recipe else {
      let result = unsafe try connection.mapPort(registration)
      if registration.backend?.name == BackendDescription.isolated {
        result.carrier = try token.open().descriptor
      }
      return result
    }
    let maker = LinuxRingDrivers(recipe.memory, subject: registration.name.rawValue)
    let result = unsafe try connection.mapPort(registration) { (place, _) throws(NetmapError) in
      guard place < recipe.rings.count else {
        throw NetmapError(
          .invalidArgument, "attach", registration.name.rawValue,
          reason: "netmapd did not describe one of its rings", remedy: "open the port again")
      }
      return unsafe try maker.ringDriver(of: recipe.rings[place])
    }
    withExtendedLifetime(files) {}
    return result
  }

  /// Puts the region in the place of a program's memory.
  ///
  /// - Throws: ``NetmapError`` as ``ProgramRange/map(_:objectsEnd:)``, `EINVAL` when the region has another size.
  package func place(in range: ProgramRange) throws(NetmapError) {
    guard let file = files.first, registration.memorySize == range.byteCount else {
      throw NetmapError(
        .invalidArgument, "attach", registration.name.rawValue,
        reason: "netmapd answered with \(registration.memorySize) bytes for memory of"
          + " \(range.byteCount)", remedy: "use one version of netmap for all processes")
    }
    let buffers = registration.segment.buffers
    try range.map(
      file.descriptor, objectsEnd: buffers.base + Int(buffers.count) * Int(buffers.size))
  }
}
